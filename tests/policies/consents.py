"""Reads the vector file into what the evaluator takes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from assent.policy_files import load_catalogue
from fhir.consent_elements import instant_of
from fhir.consent_reading import read_consent
from policies.classify import classify
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.consent_rule import ConsentRule
from policies.decide import grantee_of
from policies.model import Coding, Decision, ResourceFacts

CATALOGUE = load_catalogue()
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
VECTORS: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "vectors" / "consents.yaml").read_text())
_CASE_KEYS = {"name", "consent", "change", "provision", "resource", "now", "client", "purpose", "expect", "at"}
_RESOURCE_KEYS = {"type", "category", "labels", "confidentiality", "codes", "date"}


def case_consent(case: Mapping[str, Any]) -> ConsentRule:
    """The case's consent, changed as it says."""
    unknown = set(case) - _CASE_KEYS
    if unknown:
        raise ValueError(f"unknown keys in a vector: {sorted(unknown)}")
    consent = {**VECTORS["consents"][case["consent"]], **case.get("change", {})}
    changed = {**consent["provision"], **case.get("provision", {})}
    consent["provision"] = {name: value for name, value in changed.items() if value is not None}
    return read_consent(consent)


def case_facts(resource: Mapping[str, Any]) -> ResourceFacts:
    """Facts as a vector gives them."""
    unknown = set(resource) - _RESOURCE_KEYS
    if unknown:
        raise ValueError(f"unknown keys in a vector's resource: {sorted(unknown)}")
    tokens = {
        Coding("http://terminology.hl7.org/CodeSystem/observation-category", code)
        for code in resource.get("category", "").split(",")
    }
    labels = {Coding(ACT_CODE_SYSTEM, code) for code in resource.get("labels", [])}
    if "confidentiality" in resource:
        labels.add(Coding(CONFIDENTIALITY_SYSTEM, resource["confidentiality"]))
    date = resource.get("date")
    low, high = (None, None) if date is None else (instant_of(date, end=False), instant_of(date, end=True))
    return ResourceFacts(
        resource_type=resource["type"],
        id="o1",
        owners=frozenset({"p1"}),
        tokens={"category": frozenset(tokens)},
        codes=frozenset(Coding(*text.split("|")) for text in resource.get("codes", [])),
        labels=frozenset(labels),
        period=(low, high) if low is not None and high is not None else None,
    )


def circumstances(case: Mapping[str, Any]) -> Circumstances:
    """Who asks, when and what for."""
    now = datetime.fromisoformat(case["now"]) if "now" in case else NOW
    return Circumstances("p1", frozenset({grantee_of(case.get("client", "app"))}), case.get("purpose", "PATRQT"), now)


def decide(consents: list[ConsentRule], around: Circumstances, facts: ResourceFacts) -> Decision:
    """Both stages of the evaluator."""
    return consent_decision(applicable(consents, around), around, facts, classify(facts, CATALOGUE))
