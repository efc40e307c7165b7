"""Questionnaires about how somebody lives, what they answered, and what was concluded from it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from sandbox.records.directory import clinician
from sandbox.records.encounters import Visit
from sandbox.records.observations import SDOH, SURVEY, write_observation
from sandbox.records.problems import ACTIVE, CONFIRMED
from sandbox.records.record import Record, Resource, coding, concept, instant, reference
from sandbox.records.terminology import LOINC, SNOMED, UCUM, US_CORE, Code

_PANEL: Final = Code(LOINC, "88121-9", "Hunger Vital Sign [HVS]")
_WORRIED: Final = Code(LOINC, "88122-7", "Worried whether our food would run out before we got money to buy more")
_RISK: Final = Code(LOINC, "88124-3", "Food insecurity risk [HVS]")
_ACTIVE_DAYS: Final = Code(LOINC, "89555-7", "Days per week of moderate to strenuous exercise")
_SOMETIMES: Final = Code(LOINC, "LA6729-3", "Sometimes true")
_AT_RISK: Final = Code(LOINC, "LA19952-3", "At risk")
_INSECURITY: Final = Code(SNOMED, "733423003", "Food insecurity")
_CONCERN: Final = Code("http://hl7.org/fhir/us/core/CodeSystem/condition-category", "health-concern", "Health Concern")
_DISPLAY: Final = "http://hl7.org/fhir/StructureDefinition/display"
_QUESTIONNAIRE: Final = "https://sandbox.example/Questionnaire/hunger-and-exercise"


def write_survey(record: Record, visit: Visit) -> None:
    """One questionnaire with its answers, the Observations drawn from them, and the concern that follows."""
    answers = _write_answers(record, visit)
    asked = (SURVEY, SDOH)
    days = {"valueQuantity": {"value": 3, "unit": "d/wk", "system": UCUM, "code": "d/wk"}}
    parts = [
        _write(record, visit, asked, _WORRIED, {"valueCodeableConcept": concept(_SOMETIMES)}, answers),
        _write(record, visit, asked, _RISK, {"valueCodeableConcept": concept(_AT_RISK)}, answers),
    ]
    _write(record, visit, asked, _PANEL, {"hasMember": [reference(part) for part in parts]}, answers)
    _write(record, visit, (SURVEY,), _ACTIVE_DAYS, days, answers)
    _write(record, visit, (SURVEY,), {"text": "Eats breakfast"}, {"valueBoolean": True}, answers)
    _write(record, visit, (SURVEY,), {"text": "Anything else?"}, {"valueString": "no"}, answers)
    _write_concern(record, visit.day)


def _write(
    record: Record, visit: Visit, categories: tuple[Code, ...], code: Code | Resource, found: Resource, source: Resource
) -> Resource:
    drawn: Resource = {"performer": [record.subject], **found, "derivedFrom": [reference(source)]}
    named = concept(code) if isinstance(code, Code) else code
    answer = write_observation(record, visit, visit.day, categories, named, drawn)
    answer["meta"] = {"profile": [US_CORE + "us-core-observation-screening-assessment"]}
    return answer


def _write_answers(record: Record, visit: Visit) -> Resource:
    why: Resource = {"linkId": "1.1", "text": "Since when?", "answer": [{"valueString": "since the spring"}]}
    hunger: Resource = {
        "linkId": "1",
        "text": _WORRIED.display,
        "answer": [{"valueCoding": coding(_SOMETIMES), "item": [why]}],
    }
    days: Resource = {"linkId": "2.1", "text": _ACTIVE_DAYS.display, "answer": [{"valueDecimal": Decimal("3.0")}]}
    exercise: Resource = {"linkId": "2", "text": "Exercise", "item": [days]}
    words: Resource = {"linkId": "4", "text": "Anything else?", "answer": [{"valueString": "no"}]}
    meals: Resource = {"linkId": "3", "text": "Breakfasts in a week", "answer": [{"valueDecimal": Decimal("6.5")}]}
    elements: Resource = {
        "identifier": {"system": "urn:assent:sandbox:answers", "value": visit.encounter["id"]},
        "questionnaire": _QUESTIONNAIRE,
        "_questionnaire": {
            "extension": [
                {"url": _DISPLAY, "valueString": "Hunger and exercise"},
                {"url": US_CORE + "us-core-extension-questionnaire-uri", "valueUri": _QUESTIONNAIRE},
            ]
        },
        "status": "completed",
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "authored": instant(visit.day, 9, 20),
        "author": clinician("raman"),
        "item": [hunger, exercise, meals, words],
    }
    return record.add("answers", "QuestionnaireResponse", elements, "us-core-questionnaireresponse")


def _write_concern(record: Record, day: date) -> None:
    asserted = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
    elements: Resource = {
        "extension": [{"url": asserted, "valueDateTime": day.isoformat()}],
        "clinicalStatus": concept(ACTIVE),
        "verificationStatus": concept(CONFIRMED),
        "category": [concept(_CONCERN), concept(SDOH)],
        "code": concept(_INSECURITY),
        "subject": record.subject,
        "onsetDateTime": day.isoformat(),
        "recordedDate": day.isoformat(),
        "recorder": clinician("raman"),
    }
    record.add("condition", "Condition", elements, "us-core-condition-problems-health-concerns")
