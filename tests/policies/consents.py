"""Reads the vector files into what the evaluator takes. A key that it doesn't know is an error, in every file."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assent.policy_files import load_catalogue
from assent.read_yaml import read_yaml
from fhir.consents.reading import read_consent
from fhir.r4.instants import instant_of
from policies.classify import classify
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.consent_rule import ConsentRule
from policies.decide import grantee_of
from policies.memberships import Memberships
from policies.model import Coding, Decision, ResourceFacts

CATALOGUE = load_catalogue()
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
_FOLDER = Path(__file__).parents[1] / "vectors"
_FILE_KEYS = {"source", "shared", "consents", "cases"}
_SOURCE_KEYS = {"name", "version", "licence", "url"}
_CASE_KEYS = {
    *("name", "consent", "consents", "change", "provision", "resource", "expect", "at"),
    *("now", "client", "grantees", "users", "purpose", "memberships", "links"),
}
_RESOURCE_KEYS = {
    *("type", "id", "category", "labels", "confidentiality", "codes", "date"),
    *("references", "authors", "profiles"),
}


class Vectors:
    """One file of consents and cases."""

    def __init__(self, name: str) -> None:
        content = read_yaml((_FOLDER / name).read_text(encoding="utf-8"))
        _refuse_unknown("a vector file", content, _FILE_KEYS)
        _refuse_unknown("a vector file's source", content.get("source", {}), _SOURCE_KEYS)
        self.consents: dict[str, dict[str, Any]] = content["consents"]
        self.cases: list[dict[str, Any]] = content["cases"]

    def consents_of(self, case: Mapping[str, Any]) -> list[ConsentRule]:
        """The consents of a case, compiled; `change` and `provision` change the one under `consent`."""
        _refuse_unknown("a vector", case, _CASE_KEYS)
        return [read_consent(consent) for consent in self._resources(case)]

    def _resources(self, case: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if "consent" in case:
            consent = self.consents[case["consent"]] | case.get("change", {})
            if "provision" in case:
                consent["provision"] = consent["provision"] | case["provision"]
                consent["provision"] = {n: v for n, v in consent["provision"].items() if v is not None}
            yield {name: value for name, value in consent.items() if value is not None}
        for name in case.get("consents", ()):
            yield self.consents[name]


def _refuse_unknown(what: str, item: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(item) - known
    if unknown:
        raise ValueError(f"unknown keys in {what}: {sorted(unknown)}")


def case_facts(resource: Mapping[str, Any]) -> ResourceFacts:
    """Facts as a vector gives them."""
    _refuse_unknown("a vector's resource", resource, _RESOURCE_KEYS)
    tokens = {
        Coding("http://terminology.hl7.org/CodeSystem/observation-category", code)
        for code in resource.get("category", "").split(",")
    }
    labels = {Coding(ACT_CODE_SYSTEM, code) for code in resource.get("labels", [])}
    if "confidentiality" in resource:
        labels.add(Coding(CONFIDENTIALITY_SYSTEM, resource["confidentiality"]))
    start, slash, end = resource.get("date", "").partition("/")
    low, high = instant_of(start, end=False), instant_of(end if slash else start, end=True)
    return ResourceFacts(
        resource_type=resource["type"],
        id=resource.get("id", "o1"),
        owners=frozenset({"p1"}),
        tokens={"category": frozenset(tokens)},
        codes=frozenset(Coding(*text.split("|")) for text in resource.get("codes", [])),
        labels=frozenset(labels),
        profiles=frozenset(resource.get("profiles", [])),
        period=(low, high) if low is not None and high is not None else None,
        references=frozenset(resource.get("references", [])),
        authors=frozenset(resource.get("authors", [])),
    )


def circumstances(case: Mapping[str, Any]) -> Circumstances:
    """Who asks, when and what for."""
    return Circumstances(
        patient="p1",
        grantees=frozenset({grantee_of(case.get("client", "app")), *case.get("grantees", [])}),
        purpose=case.get("purpose", "PATRQT"),
        now=datetime.fromisoformat(case["now"]) if "now" in case else NOW,
        users=frozenset(case.get("users", [])),
        memberships=Memberships(_sets(case["memberships"])) if "memberships" in case else None,
        authorships=Memberships(_sets(case["memberships"])) if "memberships" in case else None,
        links=_sets(case["links"]) if "links" in case else None,
        categories=frozenset(CATALOGUE.categories),
    )


def _sets(lists: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in lists.items()}


def decide(consents: list[ConsentRule], around: Circumstances, facts: ResourceFacts) -> Decision:
    """Both stages of the evaluator."""
    return consent_decision(applicable(consents, around), around, facts, classify(facts, CATALOGUE))
