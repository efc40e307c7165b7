"""Problems and what is done about them: conditions, medicines, allergies, vaccines, procedures and orders."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sandbox.records.directory import OFFICE, PHARMACY, clinician, medication_id
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
    UCUM,
    US_CORE,
    VACCINES,
    Code,
    Illness,
)

ACTIVE: Final = Code(TERMINOLOGY + "condition-clinical", "active", "Active")
_RESOLVED: Final = Code(TERMINOLOGY + "condition-clinical", "resolved", "Resolved")
CONFIRMED: Final = Code(TERMINOLOGY + "condition-ver-status", "confirmed", "Confirmed")
_PROBLEM_LIST: Final = Code(TERMINOLOGY + "condition-category", "problem-list-item", "Problem List Item")
_ALLERGY_ACTIVE: Final = Code(TERMINOLOGY + "allergyintolerance-clinical", "active", "Active")
_ALLERGY_CONFIRMED: Final = Code(TERMINOLOGY + "allergyintolerance-verification", "confirmed", "Confirmed")
_DIAGNOSIS: Final = Code(TERMINOLOGY + "condition-category", "encounter-diagnosis", "Encounter Diagnosis")
_OBJECTION: Final = Code(TERMINOLOGY + "v3-ActReason", "PATOBJ", "patient objection")
_TAKES: Final = Code(SNOMED, "1148756008", "Taking medication")
_BY_PATIENT: Final = Code(SNOMED, "116154003", "Patient")
FIRST_FILL: Final = Code(TERMINOLOGY + "v3-ActCode", "FF", "First Fill")
_OUTPATIENT: Final = Code(TERMINOLOGY + "medicationrequest-category", "outpatient", "Outpatient")
_INTERVENTION: Final = Code(SNOMED, "387713003", "Surgical procedure")
_COLONOSCOPY: Final = Code(SNOMED, "73761001", "Colonoscopy")
_ECG: Final = Code(SNOMED, "29303009", "Electrocardiographic procedure")
DOSES: Final = {"value": 30, "unit": "1", "system": UCUM, "code": "1"}
DAILY: Final = {
    "text": "1 dose every day",
    "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
    "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "1", "system": UCUM, "code": "1"}}],
}
_FOLLOW_UP: Final = concept(Code(SNOMED, "390906007", "Follow-up encounter"))


def write_condition(record: Record, visit: Visit, illness: Illness, *, resolved: bool = False) -> Resource:
    """A problem, named again in the diagnosis of the visit that found it."""
    elements: Resource = {
        "text": narrative(f"{record.person.name}: {illness.snomed.display}"),
        "clinicalStatus": concept(_RESOLVED if resolved else ACTIVE),
        "verificationStatus": concept(CONFIRMED),
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
        "category": [concept(_OUTPATIENT)],
        **({} if "reportedReference" in medicine else {"reportedBoolean": False}),
        **{name: value for name, value in medicine.items() if name != "contained"},
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "authoredOn": instant(visit.day, 11, 0),
        "requester": clinician("raman"),
        "dosageInstruction": [DAILY],
        "dispenseRequest": {"numberOfRepeatsAllowed": 3, "quantity": DOSES},
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
        prescribed = [write_prescription(record, later, ways[number % 3], condition) for later in visits[number::5]]
        _write_dispense(record, visit, code, prescribed[0])
        statement: Resource = {
            "status": "active",
            "medicationCodeableConcept": code if number else {"text": f"{code['text']}, when I remember"},
            "subject": record.subject,
            "effectivePeriod": {"start": visit.day.strftime("%Y-%m")},
            "dateAsserted": visits[-1].day.isoformat(),
        }
        record.add("statement", "MedicationStatement", statement)


def write_unusual_prescription(record: Record, visit: Visit) -> None:
    """One that the patient brought along, with how well it is kept to."""
    adherence = {
        "url": US_CORE + "us-core-medication-adherence",
        "extension": [
            {"url": "medicationAdherence", "valueCodeableConcept": concept(_TAKES)},
            {"url": "dateAsserted", "valueDateTime": visit.day.isoformat()},
            {"url": "informationSource", "valueCodeableConcept": concept(_BY_PATIENT)},
        ],
    }
    medicine: Resource = {
        "medicationReference": {"reference": f"Medication/{medication_id('anemia')}"},
        "reportedReference": clinician("delgado"),
    }
    prescription = write_prescription(record, visit, medicine)
    prescription["extension"] = [adherence]


def write_visit_problem(record: Record, visit: Visit) -> None:
    """What somebody came for, which was over soon (US Core, encounter diagnosis)."""
    illness = ACUTE[0]
    asserted = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
    elements: Resource = {
        "extension": [{"url": asserted, "valueDateTime": visit.day.isoformat()}],
        "clinicalStatus": concept(_RESOLVED),
        "verificationStatus": concept(CONFIRMED),
        "category": [concept(_DIAGNOSIS)],
        "code": concept(illness.snomed, illness.icd),
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "onsetDateTime": visit.day.isoformat(),
        "abatementDateTime": (visit.day + timedelta(days=6)).isoformat(),
        "recordedDate": visit.day.isoformat(),
    }
    condition = record.add("condition", "Condition", elements, "us-core-condition-encounter-diagnosis")
    add_diagnosis(visit, condition, illness.snomed.display)


def write_refused_immunization(record: Record, visit: Visit) -> None:
    """A shot that wasn't given, and why."""
    elements: Resource = {
        "status": "not-done",
        "statusReason": concept(_OBJECTION),
        "vaccineCode": concept(VACCINES[0]),
        "patient": record.subject,
        "encounter": reference(visit.encounter),
        "occurrenceDateTime": instant(visit.day, 9, 55),
        "primarySource": True,
    }
    record.add("immunization", "Immunization", elements, "us-core-immunization")


def _write_dispense(record: Record, visit: Visit, medicine: Resource, prescription: Resource) -> None:
    """The first box from the pharmacy."""
    elements: Resource = {
        "status": "completed",
        "medicationCodeableConcept": medicine,
        "subject": record.subject,
        "context": reference(visit.encounter),
        "performer": [{"actor": PHARMACY}],
        "authorizingPrescription": [reference(prescription)],
        "type": concept(FIRST_FILL),
        "quantity": DOSES,
        "daysSupply": {"value": 30, "unit": "d", "system": UCUM, "code": "d"},
        "whenHandedOver": instant(visit.day, 18, 0),
        "dosageInstruction": [DAILY],
    }
    record.add("dispense", "MedicationDispense", elements, "us-core-medicationdispense")


def write_acute(record: Record, visit: Visit) -> None:
    """Something that passes."""
    condition = write_condition(record, visit, ACUTE[record.random.randrange(len(ACUTE))], resolved=True)
    condition["abatementDateTime"] = visit.day.strftime("%Y-%m")


def write_allergy(record: Record) -> None:
    """An allergy, known since some year."""
    day = record.some_day()
    elements: Resource = {
        "clinicalStatus": concept(_ALLERGY_ACTIVE),
        "verificationStatus": concept(_ALLERGY_CONFIRMED),
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
            "category": [concept(_INTERVENTION)],
            "code": code,
            "subject": record.subject,
            "encounter": reference(visit.encounter),
            "occurrencePeriod": {"start": visit.day.isoformat(), "end": visit.day.isoformat()},
            "authoredOn": visit.day.isoformat(),
            "requester": clinician("raman"),
            "reasonCode": [_FOLLOW_UP],
        },
        "us-core-servicerequest",
    )
    procedure: Resource = {
        "basedOn": [reference(order)],
        "status": "completed",
        "code": code,
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "performedDateTime": instant(visit.day, 13, 0),
        "reasonCode": [_FOLLOW_UP],
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
