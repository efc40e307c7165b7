"""Insurance: Coverage, and the Claim and ExplanationOfBenefit of a visit, which repeat its diagnoses in codes and words."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from sandbox.chart import Chart
from sandbox.demographics import CHILDREN, MOTHER
from sandbox.directory import NAMES
from sandbox.elements import Json, concept, money, reference, terminology
from sandbox.formulary import DRUGS
from sandbox.visits import Visit

_BASE: Final = "https://fhir.lakeview.example.org/r4"
"""An absolute address of the same upstream under another name, as old interfaces keep them."""


def write_coverage(chart: Chart) -> str:
    """The Coverage; a child's names the mother as subscriber and policy holder."""
    payer = "state-medicaid" if chart.number % 4 == 0 else "beacon-health-plan"
    subscriber = CHILDREN.get(chart.id, chart.id)
    content: Json = {
        "status": "active",
        "type": terminology("v3-ActCode", "HIP", "health insurance plan policy"),
        "subscriber": reference(f"Patient/{subscriber}", MOTHER.get(subscriber)),
        "subscriberId": f"BHP{4000 + chart.number * 11}",
        "beneficiary": chart.subject(),
        "relationship": terminology("subscriber-relationship", "self" if subscriber == chart.id else "child"),
        "period": {"start": str(chart.today.year - 1)},
        "payor": [reference(f"Organization/{payer}", NAMES[payer])],
    }
    if subscriber != chart.id:
        content["policyHolder"] = reference(f"Patient/{subscriber}", MOTHER[subscriber])
    return chart.add("Coverage", content, profile="us-core-coverage")


def write_claim(chart: Chart, visit: Visit, coverage: str) -> tuple[str, str]:
    """Claim and ExplanationOfBenefit. Billing systems don't label: neither carries a security label."""
    with chart.labelled(()):
        claim = chart.add("Claim", _claim(chart, visit, coverage))
        amount = chart.resources[-1]["total"]["value"]
        return claim, chart.add("ExplanationOfBenefit", _benefit(chart, visit, coverage, claim, amount))


def _common(chart: Chart, visit: Visit) -> Json:
    return {
        "status": "active",
        "type": terminology("claim-type", "professional", "Professional"),
        "use": "claim",
        "patient": chart.subject(),
        "billablePeriod": {"start": visit.day.isoformat(), "end": visit.day.isoformat()},
        "created": visit.day.isoformat(),
        "insurer": reference("Organization/beacon-health-plan", NAMES["beacon-health-plan"]),
        "provider": reference(f"Organization/{visit.clinician.organization}"),
    }


def _diagnoses(visit: Visit) -> Json:
    if visit.course is None:
        return {}
    return {"diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept(visit.course.codes[0])}]}


def _claim(chart: Chart, visit: Visit, coverage: str) -> Json:
    price = chart.decimal("84.00", "390.00")
    content = _common(chart, visit)
    content["priority"] = terminology("processpriority", "normal")
    content |= _diagnoses(visit)
    content["insurance"] = [{"sequence": 1, "focal": True, "coverage": reference(coverage)}]
    content["item"] = _items(visit, price)
    content["total"] = money(price)
    return content


def _items(visit: Visit, price: Decimal) -> list[Json]:
    visited: Json = {
        "sequence": 1,
        "productOrService": concept(text="Office visit"),
        "servicedDate": visit.day.isoformat(),
        "net": money(price),
        "encounter": [visit.context()],
    }
    items = [visited]
    if visit.course is not None:
        visited["diagnosisSequence"] = [1]
        for sequence, drug in enumerate(visit.course.drugs, 2):
            items.append({"sequence": sequence, "productOrService": concept(DRUGS[drug].code), "net": money(Decimal("0.00"))})
    return items


def _benefit(chart: Chart, visit: Visit, coverage: str, claim: str, amount: Decimal) -> Json:
    paid = (amount * Decimal("0.80")).quantize(Decimal("0.01"))
    absolute = chart.number % 6 == 0
    content = _common(chart, visit)
    content["claim"] = reference(f"{_BASE}/{claim}" if absolute else claim)
    content["outcome"] = "complete"
    content |= _diagnoses(visit)
    content["insurance"] = [{"focal": True, "coverage": reference(coverage)}]
    content["item"] = [{key: value for key, value in item.items() if key != "encounter"} for item in _items(visit, amount)]
    content["total"] = [
        {"category": terminology("adjudication", "submitted"), "amount": money(amount)},
        {"category": terminology("adjudication", "benefit"), "amount": money(paid)},
    ]
    if visit.course is not None:
        content["processNote"] = [{"number": 1, "type": "display", "text": f"Paid for {visit.course.codes[0].display}."}]
    content["payment"] = {"amount": money(paid), "date": visit.day.isoformat()[:7]}
    return content
