"""Growth charts: what is measured of small children and read off the reference curves of their age."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from sandbox.records.demographics import COMPLETE
from sandbox.records.observations import VITAL_SIGNS, quantity, write_observation
from sandbox.records.record import TODAY, Record, concept
from sandbox.records.terminology import LOINC, Code, Measured

_HEAD: Final = Measured(Code(LOINC, "9843-4", "Head Occipital-frontal circumference"), "cm", "34.0", "49.0")
_CURVES: Final = (
    Measured(Code(LOINC, "8289-1", "Head Occipital-frontal circumference Percentile"), "%", "3", "97"),
    Measured(Code(LOINC, "77606-2", "Weight-for-length Per age and sex"), "%", "3", "97"),
    Measured(Code(LOINC, "59576-9", "Body mass index (BMI) [Percentile] Per age and sex"), "%", "3", "97"),
)


def write_growth(record: Record) -> None:
    """Of children, once for each of their first years; of one grown-up, as copied from an old chart."""
    born = record.person.born
    if record.person.id != COMPLETE and (TODAY - born).days > 20 * 365:
        return
    for year in range(1, 3):
        day = born + timedelta(days=365 * year)
        if day < TODAY:
            _write_chart(record, day)


def _write_chart(record: Record, day: date) -> None:
    for measured in (_HEAD, *_CURVES):
        value = quantity(record.number(measured.low, measured.high), measured.unit)
        found = {"valueQuantity": value}
        write_observation(record, None, day, (VITAL_SIGNS,), concept(measured.code), found)
