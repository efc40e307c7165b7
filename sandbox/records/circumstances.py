"""The rest of what US Core describes, for the one record that has all of it: work, pregnancy, preferences, averages."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from sandbox.records.directory import LABORATORY
from sandbox.records.documents import write_implant, write_note_report
from sandbox.records.encounters import Visit
from sandbox.records.observations import LABORATORY_TEST, SOCIAL_HISTORY, VITAL_SIGNS, quantity, write_observation
from sandbox.records.patients import write_contact
from sandbox.records.problems import write_unusual_prescription
from sandbox.records.record import Record, Resource, concept, instant, reference
from sandbox.records.surveys import write_survey
from sandbox.records.terminology import LOINC, OXYGEN, SNOMED, TERMINOLOGY, US_CORE, Code

_PREFERENCES: Final = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
_OCCUPATION: Final = Code(LOINC, "11341-5", "History of Occupation")
_INDUSTRY: Final = Code(LOINC, "86188-0", "History of Occupation industry")
_NURSE: Final = Code("urn:oid:2.16.840.1.114222.4.5.327", "29-1141.00", "Registered Nurses")
_HOSPITALS: Final = Code("urn:oid:2.16.840.1.114222.4.5.327", "622110", "General Medical and Surgical Hospitals")
_PREGNANT: Final = Code(LOINC, "82810-3", "Pregnancy status")
_NOT_PREGNANT: Final = Code(SNOMED, "60001007", "Not pregnant")
_INTENT: Final = Code(LOINC, "86645-9", "Pregnancy intention in the next year - Reported")
_NO_WISH: Final = Code(SNOMED, "454391000124105", "Does not want to become pregnant")
_ORIENTATION: Final = Code(LOINC, "76690-7", "Sexual orientation")
_STRAIGHT: Final = Code(SNOMED, "20430005", "Heterosexual")
_TREATMENT: Final = Code(LOINC, "75773-2", "Goals, preferences, and priorities for medical treatment")
_EXPERIENCE: Final = Code(LOINC, "95541-9", "Care experience preference")
_AVERAGE: Final = Code(LOINC, "96607-7", "Blood pressure panel mean systolic and mean diastolic")
_MEAN_SYSTOLIC: Final = Code(LOINC, "96608-5", "Systolic blood pressure mean")
_MEAN_DIASTOLIC: Final = Code(LOINC, "96609-3", "Diastolic blood pressure mean")
_FLOW: Final = Code(LOINC, "3151-8", "Inhaled oxygen flow rate")
_CONCENTRATION: Final = Code(LOINC, "3150-0", "Inhaled oxygen concentration")
_NITRITE: Final = Code(LOINC, "5802-4", "Nitrite [Presence] in Urine by Test strip")
_COLOUR: Final = Code(LOINC, "5778-6", "Color of Urine")
_NEGATIVE: Final = Code(SNOMED, "260385009", "Negative")
_COCHLEAR: Final = Code(SNOMED, "43252007", "Cochlear prosthesis")


def write_circumstances(record: Record, visits: list[Visit]) -> None:
    """All of it, at the last visit."""
    visit = visits[-1]
    write_contact(record)
    write_implant(record, _COCHLEAR)
    write_survey(record, visit)
    write_unusual_prescription(record, visit)
    _write_work(record, visit)
    _write_private_life(record, visit)
    _write_preferences(record, visit)
    _write_measurements(record, visit)


def _write(record: Record, visit: Visit, category: Code, code: Code, found: Resource, profile: str) -> Resource:
    found = {"performer": [record.subject], **found}
    written = write_observation(record, visit, visit.day, (category,), concept(code), found)
    written["meta"] = {"profile": [US_CORE + profile]}
    return written


def _write_work(record: Record, visit: Visit) -> None:
    industry = {"code": concept(_INDUSTRY), "valueCodeableConcept": concept(_HOSPITALS)}
    found = {"valueCodeableConcept": concept(_NURSE), "component": [industry]}
    work = _write(record, visit, SOCIAL_HISTORY, _OCCUPATION, found, "us-core-observation-occupation")
    del work["effectiveDateTime"]
    work["effectivePeriod"] = {"start": "2015-09-01"}


def _write_private_life(record: Record, visit: Visit) -> None:
    for code, answer, profile in (
        (_PREGNANT, _NOT_PREGNANT, "us-core-observation-pregnancystatus"),
        (_INTENT, _NO_WISH, "us-core-observation-pregnancyintent"),
        (_ORIENTATION, _STRAIGHT, "us-core-observation-sexual-orientation"),
    ):
        _write(record, visit, SOCIAL_HISTORY, code, {"valueCodeableConcept": concept(answer)}, profile)


def _write_preferences(record: Record, visit: Visit) -> None:
    """In words and as a code; filed under social history too, where people find what they said of themselves."""
    for code, name, words in (
        (_TREATMENT, "treatment-intervention-preference", "no blood transfusions, if there is another way"),
        (_EXPERIENCE, "care-experience-preference", "wants to be called by her first name"),
    ):
        kind = Code(_PREFERENCES, name, name.replace("-", " ").capitalize())
        for answer in ({"valueString": words}, {"valueCodeableConcept": {"text": words}}):
            said = _write(record, visit, kind, code, answer, f"us-core-{name}")
            said["category"].append(concept(SOCIAL_HISTORY))


def _write_measurements(record: Record, visit: Visit) -> None:
    given: list[Resource] = [
        {"code": concept(_FLOW), "valueQuantity": quantity(Decimal("2.0"), "L/min")},
        {"code": concept(_CONCENTRATION), "valueQuantity": quantity(Decimal(28), "%")},
    ]
    found: Resource = {"valueQuantity": quantity(Decimal(97), "%"), "component": given}
    write_observation(record, visit, visit.day, (VITAL_SIGNS,), concept(*OXYGEN), found)
    means: list[Resource] = [
        {"code": concept(_MEAN_SYSTOLIC), "valueQuantity": quantity(Decimal(128), "mm[Hg]")},
        {"code": concept(_MEAN_DIASTOLIC), "valueQuantity": quantity(Decimal(81), "mm[Hg]")},
    ]
    mean = _write(record, visit, VITAL_SIGNS, _AVERAGE, {"component": means}, "us-core-average-blood-pressure")
    del mean["effectiveDateTime"]
    start = (visit.day - timedelta(days=7)).isoformat()
    mean["effectivePeriod"] = {"start": start, "end": visit.day.isoformat()}
    write_note_report(record, visit, mean)
    strip = {"performer": [LABORATORY], "valueCodeableConcept": concept(_NEGATIVE)}
    sample = _write_sample(record, visit)
    strip |= {"specimen": reference(sample), "issued": instant(visit.day, 12, 0)}
    _write(record, visit, LABORATORY_TEST, _NITRITE, strip, "us-core-observation-lab")
    seen: Resource = {"performer": [LABORATORY], "valueString": "straw-yellow"}
    _write(record, visit, LABORATORY_TEST, _COLOUR, seen, "us-core-observation-lab")


def _write_sample(record: Record, visit: Visit) -> Resource:
    urine = Code(SNOMED, "122575003", "Urine specimen")
    elements: Resource = {
        "identifier": [{"system": "urn:assent:sandbox:sample", "value": f"{visit.encounter['id']}/1"}],
        "accessionIdentifier": {"system": "urn:assent:sandbox:accession", "value": f"A-{visit.encounter['id']}"},
        "status": "available",
        "type": concept(urine),
        "subject": record.subject,
        "collection": {
            "collectedDateTime": instant(visit.day, 10, 15),
            "bodySite": concept(Code(SNOMED, "13648007", "Urinary system structure")),
        },
        "condition": [concept(Code(TERMINOLOGY + "v2-0493", "CFU", "Centrifuged"))],
    }
    return record.add("specimen", "Specimen", elements, "us-core-specimen")
