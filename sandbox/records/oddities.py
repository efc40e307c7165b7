"""The mess of real systems: what no profile foresees and every server holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from sandbox.records.observations import LABORATORY_TEST, SOCIAL_HISTORY, SURVEY, VITAL_SIGNS, quantity
from sandbox.records.record import Record, Resource, concept

DANGLING: Final = frozenset(
    {"Patient/walter-devries-old", "Encounter/encounter-of-the-old-system", "Practitioner/practitioner-retired"}
)
"""References that point to nothing, on purpose."""


def write_oddities(record: Record) -> None:
    """A dozen odd Observations and a Condition; each of the kinds once, for everybody with a longer record."""
    if record.person.visits < 10:
        return
    day = record.some_day().isoformat()
    several = [concept(LABORATORY_TEST), concept(VITAL_SIGNS)]
    unknown = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    odd: tuple[Resource, ...] = (
        {
            "category": several,
            "code": {"text": "Glucose, home meter"},
            "valueQuantity": quantity(Decimal("5.50"), "mmol/L"),
        },
        {"code": {"text": "no category at all"}, "valueString": "see paper chart"},
        {"category": [{"text": "laboratory"}], "code": {"text": "category as text only"}, "valueInteger": 3},
        {
            "category": [concept(SOCIAL_HISTORY), concept(SURVEY)],
            "code": {"text": "Occupation"},
            "valueString": "baker",
        },
        {"category": [concept(LABORATORY_TEST)], "code": {"coding": [{"code": "GLU"}]}, "valueString": "n/a"},
        {"status": "entered-in-error", "category": [concept(VITAL_SIGNS)], "code": {"text": "Body weight"}},
        {
            "category": [concept(LABORATORY_TEST)],
            "code": {"text": "trace"},
            "valueQuantity": {"value": Decimal("0.0010")},
        },
        {"category": [concept(VITAL_SIGNS)], "code": {"text": "old weight"}, "effectiveDateTime": day[:4]},
        {"category": [concept(VITAL_SIGNS)], "code": {"text": "older"}, "effectiveDateTime": day[:7]},
        {"category": [concept(VITAL_SIGNS)], "code": {"text": "lost value"}, "_valueString": {"extension": [unknown]}},
        {
            "category": [concept(LABORATORY_TEST)],
            "code": {"text": "sent out"},
            "performer": [{"display": "a lab in Ohio"}],
        },
        {
            "category": [concept(LABORATORY_TEST)],
            "code": {"text": "imported"},
            "performer": [{"identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1999999999"}}],
        },
    )
    for elements in odd:
        record.add("odd", "Observation", {"status": "final", "subject": record.subject, **elements})
    # In no category, so that it is shared with all conditions or not at all.
    record.add("odd-problem", "Condition", {"subject": record.subject, "code": {"text": "bad back, on and off"}})
    _write_family_ties(record)


def _write_family_ties(record: Record) -> None:
    """References to another patient, and to what isn't there any more."""
    ties: dict[str, Resource] = {
        "leo-kowalski": {"performer": [{"reference": "Patient/hannah-kowalski"}], "valueString": "fever at home"},
        "adwoa-mensah": {"focus": [{"reference": "Patient/kofi-mensah"}], "valueString": "heartbeat of the child"},
        "walter-de-vries": {"encounter": {"reference": "Encounter/encounter-of-the-old-system"}},
        "omar-haddad": {"performer": [{"reference": "Practitioner/practitioner-retired"}]},
    }
    tie = ties.get(record.person.id)
    if tie is not None:
        elements = {"status": "final", "category": [concept(VITAL_SIGNS)], "code": {"text": "note"}}
        record.add("tie", "Observation", {**elements, "subject": record.subject, **tie})
