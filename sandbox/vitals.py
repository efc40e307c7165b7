"""Vital signs: blood pressure with its components, pulse, breathing, temperature, oxygen, height, weight, BMI."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from sandbox.chart import Chart
from sandbox.elements import LOINC, Code, Json, concept, quantity, terminology
from sandbox.visits import Visit

CATEGORY: Final = terminology("observation-category", "vital-signs", "Vital Signs")
_BLOOD_PRESSURE: Final = Code(LOINC, "85354-9", "Blood pressure panel with all children optional")
_SYSTOLIC: Final = Code(LOINC, "8480-6", "Systolic blood pressure")
_DIASTOLIC: Final = Code(LOINC, "8462-4", "Diastolic blood pressure")
_WEIGHT: Final = Code(LOINC, "29463-7", "Body weight")
_HEIGHT: Final = Code(LOINC, "8302-2", "Body height")
_BMI: Final = Code(LOINC, "39156-5", "Body mass index (BMI) [Ratio]")
# code, profile, unit, UCUM, lowest, highest
_SIMPLE: Final = (
    (Code(LOINC, "8867-4", "Heart rate"), "us-core-heart-rate", "beats/minute", "/min", "58", "98"),
    (Code(LOINC, "9279-1", "Respiratory rate"), "us-core-respiratory-rate", "breaths/minute", "/min", "12", "22"),
    (Code(LOINC, "8310-5", "Body temperature"), "us-core-body-temperature", "Cel", "Cel", "36.10", "37.90"),
    (Code(LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"), "us-core-pulse-oximetry",
     "%", "%", "92", "99"),
)  # fmt: skip
_GROWTH: Final = ((0.0, 50, 3.4), (1.0, 75, 9.6), (3.0, 95, 14.0), (6.0, 115, 20.5), (10.0, 138, 32.0), (14.0, 160, 49.0))


def write_vitals(chart: Chart, visit: Visit) -> list[str]:
    """Vital signs of one visit; returns their references."""
    written = []
    age = chart.age_at(visit.day)
    if age >= 3:
        written.append(_blood_pressure(chart, visit))
    for code, profile, unit, ucum, low, high in _SIMPLE[: 2 + visit.index % 3]:
        rate = chart.decimal(low, high)
        fast = {"/min": 40}.get(ucum, 0) if age < 2 else 0
        written.append(_observe(chart, visit, code, profile, {"valueQuantity": quantity(rate + fast, unit, ucum)}))
    height, weight = _size(chart, age)
    measured = {"valueQuantity": quantity(weight, "kg")}
    written.append(_observe(chart, visit, _WEIGHT, "us-core-body-weight", measured))
    if age < 18 or visit.index % 4 == 0:
        measured = {"valueQuantity": quantity(height, "cm")}
        written.append(_observe(chart, visit, _HEIGHT, "us-core-body-height", measured))
        index = (weight / (height / 100) ** 2).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        if age >= 2:
            measured = {"valueQuantity": quantity(index, "kg/m2")}
            written.append(_observe(chart, visit, _BMI, "us-core-bmi", measured))
    return written


def _size(chart: Chart, age: float) -> tuple[Decimal, Decimal]:
    if age >= 16:
        own = Decimal(chart.number * 7 % 28)
        return Decimal("155.0") + own, Decimal("56.50") + own + chart.decimal("0.00", "4.00")
    _, height, weight = max(row for row in _GROWTH if row[0] <= age)
    return Decimal(f"{height:.1f}") + chart.decimal("0.0", "6.0"), Decimal(f"{weight:.2f}") + chart.decimal("0.00", "2.00")


def _blood_pressure(chart: Chart, visit: Visit) -> str:
    young = 25 if chart.age_at(visit.day) < 13 else 0
    upper, lower = chart.decimal("112", "158") - young, chart.decimal("66", "94") - young
    parts = [
        {"code": concept(_SYSTOLIC), "valueQuantity": quantity(upper, "mmHg", "mm[Hg]")},
        {"code": concept(_DIASTOLIC), "valueQuantity": quantity(lower, "mmHg", "mm[Hg]")},
    ]
    if visit.index % 13 == 12:
        parts[1] = {"code": concept(_DIASTOLIC), "dataAbsentReason": terminology("data-absent-reason", "error", "Error")}
    return _observe(chart, visit, _BLOOD_PRESSURE, "us-core-blood-pressure", {"component": parts})


def _observe(chart: Chart, visit: Visit, code: Code, profile: str, measured: Json) -> str:
    content: Json = {
        "status": "final",
        "category": [CATEGORY],
        "code": concept(code, text=code.display if visit.index % 2 else None),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(5),
    }
    return chart.add("Observation", content | measured, profile=profile)
