"""Observations: vital signs, laboratory results with their reports and specimens, and habits."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from sandbox.records.directory import LABORATORY, clinician
from sandbox.records.encounters import Visit
from sandbox.records.record import Record, Resource, concept, instant, narrative, reference
from sandbox.records.terminology import (
    BLOOD_PRESSURE,
    BMI,
    DIASTOLIC,
    HEIGHT,
    LAB_PANELS,
    OBSERVATION_CATEGORY,
    OXYGEN,
    SMOKING,
    SMOKING_ANSWERS,
    SNOMED,
    SYSTOLIC,
    TERMINOLOGY,
    UCUM,
    VITALS,
    WEIGHT,
    Code,
    Measured,
)

VITAL_SIGNS: Final = Code(OBSERVATION_CATEGORY, "vital-signs", "Vital Signs")
LABORATORY_TEST: Final = Code(OBSERVATION_CATEGORY, "laboratory", "Laboratory")
SOCIAL_HISTORY: Final = Code(OBSERVATION_CATEGORY, "social-history", "Social History")
SURVEY: Final = Code(OBSERVATION_CATEGORY, "survey", "Survey")
SDOH: Final = Code("http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "sdoh", "SDOH")
LAB_REPORT: Final = Code(TERMINOLOGY + "v2-0074", "LAB", "Laboratory")
_HIGH: Final = Code(TERMINOLOGY + "v3-ObservationInterpretation", "H", "High")
_BLOOD: Final = Code(SNOMED, "119297000", "Blood specimen")
_ABSENT: Final = Code(TERMINOLOGY + "data-absent-reason", "not-performed", "Not Performed")
PROFILES: Final = {
    "8867-4": "us-core-heart-rate",
    "9279-1": "us-core-respiratory-rate",
    "8310-5": "us-core-body-temperature",
    "59408-5": "us-core-pulse-oximetry",
    "29463-7": "us-core-body-weight",
    "8302-2": "us-core-body-height",
    "39156-5": "us-core-bmi",
    "85354-9": "us-core-blood-pressure",
    "72166-2": "us-core-smokingstatus",
    "9843-4": "us-core-head-circumference",
    "8289-1": "head-occipital-frontal-circumference-percentile",
    "77606-2": "pediatric-weight-for-height",
    "59576-9": "pediatric-bmi-for-age",
    **{test.code.code: "us-core-observation-lab" for _, tests in LAB_PANELS for test in tests},
}
"""The US Core profile of what has this LOINC code."""


def quantity(value: Decimal, unit: str) -> Resource:
    """A UCUM Quantity that keeps the precision it was measured with."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def write_observation(
    record: Record, visit: Visit | None, day: date, categories: tuple[Code, ...], code: Resource, found: Resource
) -> Resource:
    """One final Observation; `found` is its value and whatever else sets it apart."""
    elements: Resource = {"status": "final"}
    if categories:
        elements["category"] = [concept(category) for category in categories]
    elements |= {"code": code, "subject": record.subject}
    if visit is not None:
        elements["encounter"] = reference(visit.encounter)
    elements |= {"effectiveDateTime": instant(day), **found}
    codes = [coding["code"] for coding in code.get("coding", ())]
    profile = next((PROFILES[code] for code in codes if code in PROFILES), None)
    return record.add("obs", "Observation", elements, profile)


def write_vital_signs(record: Record, visit: Visit) -> None:
    """What the nurse measures: pressure, weight, and some of the rest."""
    _write_blood_pressure(record, visit)
    for measured in record.random.sample(VITALS, 2):
        _write_measured(record, visit, measured)
    age = record.age_on(visit.day)
    weight = record.number("52.0", "110.0") if age > 15 else Decimal(35 + 27 * age + record.random.randrange(10)) / 10
    if record.chance(2):
        write_observation(
            record, visit, visit.day, (VITAL_SIGNS,), concept(WEIGHT), {"valueQuantity": quantity(weight, "kg")}
        )
    if record.chance(6):
        height = record.number("150.0", "195.0") if age > 15 else Decimal(500 + 75 * age) / 10
        value = {"valueQuantity": quantity(height, "cm")}
        write_observation(record, visit, visit.day, (VITAL_SIGNS,), concept(HEIGHT), value)
        index = {"valueQuantity": quantity(record.number("18.50", "36.50"), "kg/m2")}
        write_observation(record, visit, visit.day, (VITAL_SIGNS,), concept(BMI), index)


def _write_blood_pressure(record: Record, visit: Visit) -> None:
    parts: list[Resource] = [
        {"code": concept(SYSTOLIC), "valueQuantity": quantity(record.number("98", "172"), "mm[Hg]")},
        {"code": concept(DIASTOLIC), "valueQuantity": quantity(record.number("58", "104"), "mm[Hg]")},
    ]
    if record.chance(15):  # the cuff slipped
        parts[1] = {"code": concept(DIASTOLIC), "dataAbsentReason": concept(_ABSENT)}
    extra: Resource = {"component": parts, "performer": [clinician("raman")]}
    found = write_observation(record, visit, visit.day, (VITAL_SIGNS,), concept(BLOOD_PRESSURE), extra)
    found["meta"]["profile"].append("http://hl7.org/fhir/StructureDefinition/bp")


def _write_measured(record: Record, visit: Visit, measured: Measured) -> None:
    value = quantity(record.number(measured.low, measured.high), measured.unit)
    codes = OXYGEN if measured.code in OXYGEN else (measured.code,)
    write_observation(record, visit, visit.day, (VITAL_SIGNS,), concept(*codes), {"valueQuantity": value})


def write_lab_panel(record: Record, visit: Visit) -> Resource:
    """A Specimen, its results, and the laboratory's DiagnosticReport."""
    panel, tests = LAB_PANELS[record.random.randrange(len(LAB_PANELS))]
    day = visit.day + timedelta(days=1)
    specimen = record.add(
        "specimen",
        "Specimen",
        {
            "status": "available",
            "type": concept(_BLOOD),
            "subject": record.subject,
            "collection": {"collectedDateTime": instant(visit.day, 10, 5)},
        },
    )
    results = [write_lab_result(record, visit, test, specimen) for test in tests]
    names = ", ".join(result["code"]["text"] for result in results)
    return record.add(
        "report",
        "DiagnosticReport",
        {
            "text": narrative(f"{panel.display} for {record.person.name}: {names}"),
            "status": "final",
            "category": [concept(LAB_REPORT)],
            "code": concept(panel),
            "subject": record.subject,
            "encounter": reference(visit.encounter),
            "effectiveDateTime": instant(visit.day),
            "issued": instant(day, 17, 0),
            "performer": [LABORATORY],
            "specimen": [reference(specimen)],
            "result": [reference(result, result["code"]["text"]) for result in results],
        },
        "us-core-diagnosticreport-lab",
    )


def write_lab_result(record: Record, visit: Visit, test: Measured, specimen: Resource) -> Resource:
    """One test's result, with the range it is judged by."""
    value = record.number(test.low, test.high)
    middle = (Decimal(test.low) + Decimal(test.high)) / 2
    extra: Resource = {
        "issued": instant(visit.day + timedelta(days=1), 16, 0),
        "performer": [LABORATORY],
        "valueQuantity": quantity(value, test.unit),
        "specimen": reference(specimen),
        "referenceRange": [{"low": quantity(Decimal(test.low), test.unit), "text": f"from {test.low} {test.unit}"}],
    }
    if value > middle * Decimal("1.2"):
        extra["interpretation"] = [concept(_HIGH)]
    return write_observation(record, visit, visit.day, (LABORATORY_TEST,), concept(test.code), extra)


def write_smoking_status(record: Record, visit: Visit) -> None:
    """What the person says about smoking, of teenagers and adults."""
    if record.age_on(visit.day) < 13:
        return
    answer = SMOKING_ANSWERS[record.random.randrange(len(SMOKING_ANSWERS))]
    extra: Resource = {"issued": instant(visit.day, 10, 0), "valueCodeableConcept": concept(answer)}
    write_observation(record, visit, visit.day, (SOCIAL_HISTORY,), concept(SMOKING), extra)
