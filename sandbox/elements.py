"""FHIR R4 datatypes as JSON: CodeableConcept, Reference, Quantity, Period, Narrative, dateTime."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from html import escape
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10CM: Final = "http://hl7.org/fhir/sid/icd-10-cm"
CVX: Final = "http://hl7.org/fhir/sid/cvx"
UCUM: Final = "http://unitsofmeasure.org"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
US_CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/"
EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/"
OFFSET: Final = "-05:00"
"""All of the sandbox's clinics stand in one time zone, which never changes its clocks."""


class Code(NamedTuple):
    """A code of a code system, with its display."""

    system: str
    code: str
    display: str


def coding(code: Code) -> Json:
    """Coding."""
    return {"system": code.system, "code": code.code, "display": code.display}


def concept(*codes: Code, text: str | None = None) -> Json:
    """CodeableConcept; without codes, the text alone."""
    value: Json = {"coding": [coding(code) for code in codes]} if codes else {}
    if text is not None or not codes:
        value["text"] = text or "not stated"
    return value


def terminology(system: str, code: str, display: str | None = None) -> Json:
    """CodeableConcept of one of terminology.hl7.org's code systems."""
    value = {"system": TERMINOLOGY + system, "code": code}
    return {"coding": [value | ({"display": display} if display else {})]}


def reference(target: str, display: str | None = None) -> Json:
    """Reference."""
    return {"reference": target} | ({"display": display} if display else {})


def quantity(value: Decimal, unit: str, code: str | None = None) -> Json:
    """Quantity with a UCUM unit; the number keeps its trailing zeros."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code or unit}


def money(amount: Decimal) -> Json:
    """Money."""
    return {"value": amount, "currency": "USD"}


def narrative(text: str) -> Json:
    """Narrative, generated."""
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div>'}


def stamp(day: date, minute: int) -> str:
    """dateTime or instant: a day and the minute of it."""
    return f"{day.isoformat()}T{minute // 60 % 24:02d}:{minute % 60:02d}:00{OFFSET}"


def years_before(day: date, years: float) -> date:
    """The day so many years earlier."""
    return day - timedelta(days=round(years * 365.25))
