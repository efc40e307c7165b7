"""Problems and what is done about them: conditions, medicines, allergies, vaccines, procedures and orders."""

from __future__ import annotations

from typing import Final

from sandbox.records.directory import OFFICE, clinician, medication_id
from sandbox.records.encounters import Visit, add_diagnosis
from sandbox.records.record import Record, Resource, concept, instant, narrative, reference
from sandbox.records.terminology import (
    ACUTE,
    ALLERGENS,
    ILLNESSES,
    MEDICINES,
    OBSERVATION_CATEGORY,
    SNOMED,
    TERMINOLOGY,
    VACCINES,
    Code,
    Illness,
)

_ACTIVE: Final = Code(TERMINOLOGY + "condition-clinical", "active", "Active")
_RESOLVED: Final = Code(TERMINOLOGY + "condition-clinical", "resolved", "Resolved")
_CONFIRMED: Final = Code(TERMINOLOGY + "condition-ver-status", "confirmed", "Confirmed")
_PROBLEM_LIST: Final = Code(TERMINOLOGY + "condition-category", "problem-list-item", "Problem List Item")
_ALLERGY_ACTIVE: Final = Code(TERMINOLOGY + "allergyintolerance-clinical", "active", "Active")
_COLONOSCOPY: Final = Code(SNOMED, "73761001", "Colonoscopy")
_ECG: Final = Code(SNOMED, "29303009", "Electrocardiographic procedure")


def write_condition(record: Record, visit: Visit, illness: Illness, *, resolved: bool = False) -> Resource:
    """A problem, named again in the diagnosis of the visit that found it."""
    elements: Resource = {
        "text": narrative(f"{record.person.name}: {illness.snomed.display}"),
        "clinicalStatus": concept(_RESOLVED if resolved else _ACTIVE),
        "verificationStatus": concept(_CONFIRMED),
        "category": [concept(_PROBLEM_LIST)],
        "code": concept(illness.snomed, illness.icd),
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "onsetDateTime": visit.day.isoformat(),
        "recordedDate": visit.day.isoformat(),
        "recorder": clinician("raman"),
    }
    condition = record.add("condition", "Condition", elements, "us-core-condition-problems-health-concerns")
    add_diagnosis(visit, condition, illness.snomed.display)
    return condition


def write_prescription(record: Record, visit: Visit, medicine: Resource, reason: Resource | None = None) -> Resource:
    """A MedicationRequest; `medicine` holds its medication[x] and what goes with it."""
    elements: Resource = {
        **({"contained": medicine["contained"]} if "contained" in medicine else {}),
        "status": "active",
        "intent": "order",
        **{name: value for name, value in medicine.items() if name != "contained"},
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "authoredOn": instant(visit.day, 11, 0),
        "requester": clinician("raman"),
        "dosageInstruction": [{"text": "1 dose every day"}],
    }
    if reason is not None:
        elements["reasonReference"] = [reference(reason, reason["code"]["text"])]
    return record.add("prescription", "MedicationRequest", elements, "us-core-medicationrequest")


def write_chronic(record: Record, visits: list[Visit]) -> None:
    """The long-standing problems and their medicines, told in each of the ways that R4 allows."""
    for number, name in enumerate(record.person.illnesses):
        visit = visits[min(number, len(visits) - 1)]
        condition = write_condition(record, visit, ILLNESSES[name])
        code = concept(MEDICINES[name])
        ways: tuple[Resource, ...] = (
            {"medicationCodeableConcept": code},
            {"medicationReference": {"reference": f"Medication/{medication_id(name)}", "display": code["text"]}},
            {
                "contained": [{"resourceType": "Medication", "id": "med", "code": code}],
                "medicationReference": {"reference": "#med"},
            },
        )
        for later in visits[number::5]:
            write_prescription(record, later, ways[number % 3], condition)
        statement: Resource = {
            "status": "active",
            "medicationCodeableConcept": code if number else {"text": f"{code['text']}, when I remember"},
            "subject": record.subject,
            "effectivePeriod": {"start": visit.day.strftime("%Y-%m")},
            "dateAsserted": visits[-1].day.isoformat(),
        }
        record.add("statement", "MedicationStatement", statement)


def write_acute(record: Record, visit: Visit) -> None:
    """Something that passes."""
    condition = write_condition(record, visit, ACUTE[record.random.randrange(len(ACUTE))], resolved=True)
    condition["abatementDateTime"] = visit.day.strftime("%Y-%m")


def write_allergy(record: Record) -> None:
    """An allergy, known since some year."""
    day = record.some_day()
    elements: Resource = {
        "clinicalStatus": concept(_ALLERGY_ACTIVE),
        "category": ["environment"],
        "criticality": "low",
        "code": concept(ALLERGENS[record.random.randrange(len(ALLERGENS))]),
        "patient": record.subject,
        "onsetDateTime": f"{day.year}",
        "reaction": [{"manifestation": [{"text": "hives"}], "severity": "mild"}],
    }
    record.add("allergy", "AllergyIntolerance", elements, "us-core-allergyintolerance")


def write_immunization(record: Record, visit: Visit) -> None:
    """One shot."""
    elements: Resource = {
        "status": "completed",
        "vaccineCode": concept(VACCINES[record.random.randrange(len(VACCINES))]),
        "patient": record.subject,
        "encounter": reference(visit.encounter),
        "occurrenceDateTime": instant(visit.day, 9, 50),
        "primarySource": True,
        "location": OFFICE,
        "lotNumber": f"L{record.random.randint(1000, 9999)}",
    }
    record.add("immunization", "Immunization", elements, "us-core-immunization")


def write_procedure(record: Record, visit: Visit) -> None:
    """An order, what was done, and what was seen while doing it."""
    code = concept(_COLONOSCOPY if record.age_on(visit.day) > 45 else _ECG)
    order = record.add(
        "order",
        "ServiceRequest",
        {
            "status": "completed",
            "intent": "order",
            "code": code,
            "subject": record.subject,
            "encounter": reference(visit.encounter),
            "authoredOn": visit.day.isoformat(),
            "requester": clinician("raman"),
        },
    )
    procedure: Resource = {
        "basedOn": [reference(order)],
        "status": "completed",
        "code": code,
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "performedDateTime": instant(visit.day, 13, 0),
    }
    done = record.add("procedure", "Procedure", procedure, "us-core-procedure")
    finding: Resource = {
        "partOf": [reference(done)],
        "status": "final",
        "category": [concept(Code(OBSERVATION_CATEGORY, "procedure", "Procedure"))],
        "code": {"text": "Finding during the procedure"},
        "subject": record.subject,
        "effectiveDateTime": instant(visit.day, 13, 5),
        "valueString": "nothing unusual",
    }
    record.add("obs", "Observation", finding)
