"""When a resource is of, as `dataPeriod` of a consent takes it (docs/consent-semantics.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.members import MemberReader
from fhir.r4.definitions import json_members, load_definitions

_DEFINITIONS = load_definitions()
_CATALOGUE = load_catalogue()
_READER = FactsReader(_DEFINITIONS, _CATALOGUE)
_THEN = "2019-05-05T10:00:00Z"
_SPAN = {"start": _THEN, "end": _THEN}
_LATER = {"lastUpdated": "2026-01-01T00:00:00Z"}
_ANY_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SAY_NOTHING_OF_IT = {
    *("Condition.abatementDateTime", "Condition.abatementPeriod", "ExplanationOfBenefit.benefitPeriod"),
    *("Device.manufactureDate", "Device.expirationDate", "Immunization.expirationDate", "Appointment.end"),
    *("FamilyMemberHistory.bornDate", "FamilyMemberHistory.bornPeriod", "FamilyMemberHistory.deceasedDate"),
    *("Observation.valueDateTime", "Observation.valuePeriod", "ExplanationOfBenefit.preAuthRefPeriod"),
    *(
        "Practitioner.birthDate",
        "Patient.birthDate",
        "Patient.deceasedDateTime",
        "RelatedPerson.birthDate",
        "Appointment.requestedPeriod",
    ),
}
"""Dates of something else than the care that the resource tells of, or beside its beginning."""


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("QuestionnaireResponse", {"authored": _THEN}),
        ("Specimen", {"collection": {"collectedDateTime": _THEN}, "receivedTime": "2020-01-01"}),
        ("Specimen", {"collection": {"collectedPeriod": _SPAN}}),
        ("Specimen", {"collection": {"method": {"text": "x"}}, "receivedTime": _THEN}),
        ("Goal", {"startDate": _THEN, "statusDate": "2020-01-01"}),
        ("Appointment", {"created": "2018-12-01", "start": _THEN}),
        ("Claim", {"created": "2020-01-01", "billablePeriod": _SPAN}),
        ("DocumentReference", {"date": "2020-01-01T00:00:00Z", "context": {"period": _SPAN}}),
        ("DocumentReference", {"date": _THEN, "context": {"encounter": []}}),
        ("MedicationStatement", {"context": {"reference": "Encounter/e"}, "effectiveDateTime": _THEN}),
        ("MedicationDispense", {"context": {"reference": "Encounter/e"}, "whenPrepared": _THEN}),
        ("AllergyIntolerance", {"recordedDate": "2020-01-01", "lastOccurrence": _THEN}),
        ("Provenance", {"recorded": "2020-01-01T00:00:00Z", "occurredPeriod": _SPAN}),
        ("Observation", {"issued": "2020-01-01T00:00:00Z", "effectivePeriod": _SPAN}),
    ],
)
def test_a_resource_is_of_when_it_happened(kind: str, members: dict[str, Any]) -> None:
    resource = {"resourceType": kind, "id": "x", "meta": _LATER, **members}
    then = datetime(2019, 5, 5, 10, tzinfo=UTC)
    found = [_READER.read(resource), MemberReader(_READER).read(json.dumps(resource).encode())[0]]
    assert [facts.period is not None and facts.period[0] for facts in found] == [then, then]


@pytest.mark.parametrize(("kind", "name"), [("Observation", "effectiveTiming"), ("ServiceRequest", "occurrenceTiming")])
def test_what_repeats_may_be_of_any_time(kind: str, name: str) -> None:
    timing = {"repeat": {"boundsPeriod": _SPAN, "frequency": 1}}
    resource = {"resourceType": kind, "id": "x", "meta": _LATER, "issued": _THEN, "authoredOn": _THEN, name: timing}
    assert _READER.read(resource).period == _ANY_TIME


def test_every_date_that_a_shared_type_has_counts_or_is_named_here() -> None:
    dates = {"date", "dateTime", "instant", "Period", "Timing"}
    passed_over = set()
    for kind in _CATALOGUE.scopes_by_type:
        for name, element in _DEFINITIONS.children(kind).items():
            for member, type_name in json_members(name, element):
                value = _SPAN if type_name == "Period" else {} if type_name == "Timing" else _THEN
                resource = {"resourceType": kind, "meta": _LATER, member: value}
                if type_name in dates and _READER.read(resource).period == _READER.read({"meta": _LATER}).period:
                    passed_over.add(f"{kind}.{member}")
    assert passed_over == _SAY_NOTHING_OF_IT
