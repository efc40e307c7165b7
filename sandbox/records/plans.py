"""Plans, teams and goals; insurance and bills; the family's illnesses."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from sandbox.records.directory import CLINIC, INSURER, clinician
from sandbox.records.encounters import Visit
from sandbox.records.record import TODAY, Record, Resource, coding, concept, narrative, reference
from sandbox.records.terminology import ILLNESSES, SNOMED, TERMINOLOGY, Code

_WALKING: Final = Code(SNOMED, "129006008", "Walking")
_PROFESSIONAL: Final = Code(TERMINOLOGY + "claim-type", "professional", "Professional")
_NORMAL: Final = Code(TERMINOLOGY + "processpriority", "normal", "Normal")
_SUBMITTED: Final = Code(TERMINOLOGY + "adjudication", "submitted", "Submitted Amount")
_FAMILY_DOCTOR: Final = Code(SNOMED, "62247001", "Family medicine specialist")
_ASSESS_PLAN: Final = Code("http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan", "Care plan")
_MEMBER: Final = Code(TERMINOLOGY + "v2-0203", "MB", "Member Number")
_POLICY: Final = Code(TERMINOLOGY + "v3-ActCode", "HMO", "health maintenance organization policy")
_SELF: Final = Code(TERMINOLOGY + "subscriber-relationship", "self", "Self")
_CHILD: Final = Code(TERMINOLOGY + "subscriber-relationship", "child", "Child")
_GROUP: Final = Code(TERMINOLOGY + "coverage-class", "group", "Group")
_PLAN: Final = Code(TERMINOLOGY + "coverage-class", "plan", "Plan")
_FATHER: Final = Code(TERMINOLOGY + "v3-RoleCode", "FTH", "father")
_SUBSCRIBERS: Final = {
    "leo-kowalski": "hannah-kowalski",
    "nina-kowalski": "hannah-kowalski",
    "kofi-mensah": "adwoa-mensah",
}


def write_care(record: Record, conditions: list[Resource]) -> None:
    """Who cares for the person, to what end, and how."""
    team = record.add(
        "team",
        "CareTeam",
        {
            "status": "active",
            "subject": record.subject,
            "participant": [
                {"role": [concept(_FAMILY_DOCTOR)], "member": clinician("raman")},
                {"role": [concept(_FAMILY_DOCTOR)], "member": {"reference": "PractitionerRole/role-raman"}},
            ],
        },
        "us-core-careteam",
    )
    aim: Resource = {
        "subject": record.subject,
        "lifecycleStatus": "active",
        "description": concept(_WALKING, text="Walk half an hour every day"),
        "startDate": (TODAY - timedelta(days=90)).isoformat(),
        "target": [{"dueDate": (TODAY + timedelta(days=90)).isoformat()}],
    }
    goal = record.add("goal", "Goal", aim, "us-core-goal")
    plan: Resource = {
        "text": narrative(f"{record.person.name}: walk, and see the doctor twice a year."),
        "status": "active",
        "intent": "plan",
        "category": [concept(_ASSESS_PLAN)],
        "title": "Care plan",
        "subject": record.subject,
        "period": {"start": (TODAY - timedelta(days=90)).isoformat()},
        "contributor": [clinician("raman")],
        "careTeam": [reference(team)],
        "addresses": [reference(condition) for condition in conditions],
        "goal": [reference(goal)],
    }
    record.add("plan", "CarePlan", {name: value for name, value in plan.items() if value}, "us-core-careplan")


def write_coverage(record: Record) -> Resource:
    """The insurance; a child's is the mother's."""
    holder = _SUBSCRIBERS.get(record.person.id, record.person.id)
    number = f"EV-{holder}"
    relation = _SELF if holder == record.person.id else _CHILD
    elements: Resource = {
        "identifier": [{"type": concept(_MEMBER), "system": "urn:assent:sandbox:member", "value": number}],
        "status": "active",
        "type": concept(_POLICY),
        "subscriber": {"reference": f"Patient/{holder}"},
        "subscriberId": number,
        "beneficiary": record.subject,
        "relationship": concept(relation),
        "period": {"start": record.start.isoformat()},
        "payor": [INSURER],
        "class": [
            {"type": concept(_GROUP), "value": "LAKE-1", "name": "Lakeside Works"},
            {"type": concept(_PLAN), "value": "HOME", "name": "Evergreen Home"},
        ],
    }
    return record.add("coverage", "Coverage", elements, "us-core-coverage")


def write_claim(record: Record, visit: Visit, coverage: Resource, icd: Code | None) -> None:
    """A visit's bill and what the insurer made of it; the diagnosis is in both as a code."""
    price = {"value": record.number("80.00", "900.00"), "currency": "USD"}
    item: Resource = {
        "sequence": 1,
        "productOrService": {"text": "Office visit"},
        "encounter": [reference(visit.encounter)],
    }
    shared: Resource = {
        "status": "active",
        "type": concept(_PROFESSIONAL),
        "use": "claim",
        "patient": record.subject,
        "billablePeriod": {"start": visit.day.isoformat(), "end": visit.day.isoformat()},
        "created": visit.day.isoformat(),
        "insurer": INSURER,
        "provider": CLINIC,
    }
    if icd is not None:
        shared["diagnosis"] = [{"sequence": 1, "diagnosisCodeableConcept": {"coding": [coding(icd)]}}]
    insurance: Resource = {"focal": True, "coverage": reference(coverage)}
    claim: Resource = {
        **shared,
        "priority": concept(_NORMAL),
        "insurance": [{"sequence": 1, **insurance}],
        "item": [{**item, "unitPrice": price, "factor": Decimal("1.50")}],
        "total": price,
    }
    sent = record.add("claim", "Claim", claim)
    paid: Resource = {
        **shared,
        "claim": reference(sent),
        "outcome": "complete",
        "insurance": [insurance],
        "item": [{**item, "adjudication": [{"category": concept(_SUBMITTED), "amount": price}]}],
        "total": [{"category": concept(_SUBMITTED), "amount": price}],
    }
    record.add("eob", "ExplanationOfBenefit", paid)


def write_family(record: Record) -> None:
    """What the father has or had."""
    names = sorted(ILLNESSES)
    illness = ILLNESSES[names[record.random.randrange(len(names))]]
    elements: Resource = {
        "status": "completed",
        "patient": record.subject,
        "relationship": concept(_FATHER),
        "condition": [{"code": concept(illness.snomed)}],
    }
    record.add("family", "FamilyMemberHistory", elements)
