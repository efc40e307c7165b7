"""Resources of one answer that no rule tells apart are decided once: what tells them apart must never be forgotten."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.consents.reading import read_consent
from policies.classify import Classification, classify
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM, DATA_CATEGORY_SYSTEM
from policies.consent_evaluation import Circumstances, applicable
from policies.consent_rule import ConsentRule, Period, Provision
from policies.decide import Decisions, ReadPlan, Share, decide_resource, grantee_of
from policies.model import Access, Coding, Permit, ResourceFacts, Scope
from tests.policies import generated_consents as generated
from tests.policies.consents import CATALOGUE, NOW
from tests.policies.generated_consents import Tree, r4

_LOINC = "http://loinc.org"
_PROFILES = "http://hl7.org/fhir/StructureDefinition"
_OLD = (datetime(2020, 1, 1, tzinfo=UTC),) * 2
_BORN_LATER = Period(start=datetime(2024, 1, 1, tzinfo=UTC))
_EVERYTHING = (Scope("patient", "*", "rs"),)
_SOME_LAB = "http://x|laboratory"
_LAB = ResourceFacts(
    "Observation",
    "o1",
    owners=frozenset({"p1"}),
    tokens={"category": frozenset({Coding("http://x", "laboratory")}), "code": frozenset({Coding(_LOINC, "718-7")})},
    period=(NOW, NOW),
    references=frozenset({"Encounter/e"}),
    authors=frozenset({"Practitioner/d"}),
)
_KIND = Classification(frozenset({"laboratory"}), frozenset(), frozenset())


def _plan(scopes: tuple[Scope, ...], rules: tuple[ConsentRule, ...], around: Circumstances | None = None) -> ReadPlan:
    around = around or Circumstances(
        "p1", frozenset({grantee_of("app")}), "PATRQT", NOW, categories=frozenset(CATALOGUE.categories)
    )
    access = Access("app", "g", scopes, 0, "j", patient="p1", purpose=around.purpose)
    return ReadPlan(access, "r", scopes, {"p1": Share(applicable(rules, around), around)})


def _consent(*provisions: Provision, permit: bool = True) -> tuple[ConsentRule, ...]:
    return (
        ConsentRule("Consent/c/_history/1", "c", True, "p1", Provision("provision", permit, provisions=provisions)),
    )


def _permit(**conditions: Any) -> tuple[ConsentRule, ...]:
    return _consent(Provision("provision.provision[0]", True, **conditions), permit=False)


def _deny(**conditions: Any) -> tuple[ConsentRule, ...]:
    return _consent(Provision("provision.provision[0]", False, **conditions))


_ANY = _consent()
_TOLD_APART_BY_FACTS: dict[str, tuple[tuple[Scope, ...], tuple[ConsentRule, ...], Any]] = {
    # fact: scopes, consents, another value of the fact, for which the answer is another
    "resource_type": ((Scope("patient", "Observation", "rs"),), _ANY, "Condition"),
    "id": (_EVERYTHING, _deny(data=(("instance", "Observation/o2"),)), "o2"),
    "owners": (_EVERYTHING, _ANY, frozenset({"p2"})),
    "foreign": (_EVERYTHING, _ANY, True),
    "tokens": ((Scope("patient", "*", "rs", (("category", _SOME_LAB),)),), _ANY, {}),
    "codes": (_EVERYTHING, _deny(codes=(Coding(_LOINC, "718-7"),)), frozenset({Coding(_LOINC, "718-7")})),
    "labels": (
        _EVERYTHING,
        _permit(labels=(Coding(CONFIDENTIALITY_SYSTEM, "N"),)),
        frozenset({Coding(CONFIDENTIALITY_SYSTEM, "R")}),
    ),
    "profiles": (_EVERYTHING, _deny(classes=(Coding(_PROFILES, "http://p"),)), frozenset({"http://p"})),
    "period": (_EVERYTHING, _permit(data_period=_BORN_LATER), _OLD),
    "references": (_EVERYTHING, _deny(data=(("dependents", "Encounter/f"),)), frozenset({"Encounter/f"})),
    "authors": (_EVERYTHING, _deny(data=(("authoredby", "Practitioner/e"),)), frozenset({"Practitioner/e"})),
}
_TOLD_APART_BY_KIND: dict[str, tuple[tuple[ConsentRule, ...], Any]] = {
    "everyday": (_permit(classes=(Coding(DATA_CATEGORY_SYSTEM, "laboratory"),)), frozenset({"vital-signs"})),
    "sensitive": (_deny(classes=(Coding(DATA_CATEGORY_SYSTEM, "hiv"),)), frozenset({"hiv"})),
    "labels": (_deny(labels=(Coding(ACT_CODE_SYSTEM, "HIV"),)), frozenset({Coding(ACT_CODE_SYSTEM, "HIV")})),
}


def test_whatever_a_resource_is_told_by_stands_in_the_tables() -> None:
    assert set(_TOLD_APART_BY_FACTS) == {field.name for field in fields(ResourceFacts)}
    assert set(_TOLD_APART_BY_KIND) == {field.name for field in fields(Classification)}


@pytest.mark.parametrize("fact", _TOLD_APART_BY_FACTS)
def test_resources_that_a_fact_tells_apart_are_decided_each_by_itself(fact: str) -> None:
    scopes, rules, value = _TOLD_APART_BY_FACTS[fact]
    other = replace(_LAB, **{fact: value})
    assert _both_ways(_plan(scopes, rules), [(_LAB, _KIND), (other, _KIND)]) == [True, False]


@pytest.mark.parametrize("part", _TOLD_APART_BY_KIND)
def test_resources_of_different_kinds_are_decided_each_by_itself(part: str) -> None:
    rules, value = _TOLD_APART_BY_KIND[part]
    other = replace(_KIND, **{part: value})
    assert _both_ways(_plan(_EVERYTHING, rules), [(_LAB, _KIND), (_LAB, other)]) == [True, False]


def _both_ways(plan: ReadPlan, asked: list[tuple[ResourceFacts, Classification]]) -> list[bool]:
    """Whether each is permitted, asked all together and in every order."""
    singly = [decide_resource(plan, facts, CATALOGUE, kind) for facts, kind in asked]
    for order in ([*range(len(asked))] * 3, [*reversed(range(len(asked)))] * 3):
        together = Decisions(plan, CATALOGUE)
        assert [together.of(*asked[at]) for at in order] == [singly[at] for at in order]
    return [isinstance(decision, Permit) for decision in singly]


_facts = st.builds(
    lambda facts, owners, foreign, name: replace(facts, owners=owners, foreign=foreign, id=name),
    generated.facts,
    st.sampled_from([frozenset({"p1"}), frozenset({"p1"}), frozenset({"p2"}), frozenset[str]()]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["o1", "o2"]),
)
_scopes = st.sampled_from(
    [
        _EVERYTHING,
        (Scope("patient", "Observation", "r"),),
        (Scope("patient", "Observation", "r", (("category", "laboratory"),)), Scope("patient", "Condition", "s")),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(generated.trees(), max_size=3), generated.circumstances, _scopes, st.lists(_facts, min_size=2))
def test_deciding_alike_resources_once_decides_nothing_else(
    trees: list[Tree], around: Circumstances, scopes: tuple[Scope, ...], found: list[ResourceFacts]
) -> None:
    plan = _plan(scopes, tuple(read_consent(r4(tree)) for tree in trees), around)
    _both_ways(plan, [(facts, classify(facts, CATALOGUE)) for facts in found])
