"""Plans, teams and goals; insurance and bills; the family's illnesses."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from sandbox.records.directory import CLINIC, INSURER, clinician
from sandbox.records.encounters import Visit
from sandbox.records.record import Record, Resource, coding, concept, reference
from sandbox.records.terminology import ILLNESSES, TERMINOLOGY, Code

_PROFESSIONAL: Final = Code(TERMINOLOGY + "claim-type", "professional", "Professional")
_NORMAL: Final = Code(TERMINOLOGY + "processpriority", "normal", "Normal")
_SUBMITTED: Final = Code(TERMINOLOGY + "adjudication", "submitted", "Submitted Amount")
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
        {"status": "active", "subject": record.subject, "participant": [{"member": clinician("raman")}]},
    )
    start = {"subject": record.subject, "lifecycleStatus": "active"}
    goal = record.add("goal", "Goal", {**start, "description": {"text": "Walk half an hour every day"}})
    plan: Resource = {
        "status": "active",
        "intent": "plan",
        "category": [{"text": "assess-plan"}],
        "title": "Care plan",
        "subject": record.subject,
        "careTeam": [reference(team)],
        "addresses": [reference(condition) for condition in conditions],
        "goal": [reference(goal)],
    }
    record.add("plan", "CarePlan", {name: value for name, value in plan.items() if value})


def write_coverage(record: Record) -> Resource:
    """The insurance; a child's is the mother's."""
    holder = _SUBSCRIBERS.get(record.person.id, record.person.id)
    elements: Resource = {
        "status": "active",
        "subscriber": {"reference": f"Patient/{holder}"},
        "beneficiary": record.subject,
        "payor": [INSURER],
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
