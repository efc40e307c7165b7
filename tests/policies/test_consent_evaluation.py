"""Consents decide as docs/consent-semantics.md says: named cases, and laws that hold for all consents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.codes import ACT_CODE_SYSTEM, DATA_CATEGORY_SYSTEM
from policies.consent_rule import ConsentRule, Provision
from policies.decide import grantee_of
from policies.model import Coding, Deny, Permit, ResourceFacts
from tests.policies.consents import VECTORS, case_consent, case_facts, circumstances, decide

_CASES: list[dict[str, Any]] = VECTORS["cases"]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: str(case["name"]))
def test_consent_vector(case: dict[str, Any]) -> None:
    decision = decide([case_consent(case)], circumstances(case), case_facts(case["resource"]))
    assert ("permit" if isinstance(decision, Permit) else "deny") == case["expect"]
    if "at" in case:
        assert decision.reasons[0].source.partition("#")[2] == case["at"]
    else:
        assert decision.reasons[0].rule == "default"


_CATEGORIES = ("laboratory", "vital-signs", "conditions")
_AROUND = circumstances({})
_codes = st.sampled_from([Coding(DATA_CATEGORY_SYSTEM, c) for c in (*_CATEGORIES, "hiv", "substance-use")])
_labels = st.sampled_from([Coding(ACT_CODE_SYSTEM, c) for c in ("HIV", "SUD", "PSY")])


def _provisions(depth: int) -> st.SearchStrategy[Provision]:
    nested = st.just(()) if depth == 0 else st.lists(_provisions(depth - 1), max_size=2).map(tuple)
    return st.builds(
        Provision,
        path=st.just("provision"),
        permit=st.sampled_from([True, False, None]),
        actors=st.sampled_from([(), (grantee_of("app"),), (grantee_of("other"),)]),
        classes=st.lists(_codes, max_size=2).map(tuple),
        labels=st.lists(_labels, max_size=1).map(tuple),
        provisions=nested,
        not_understood=st.sampled_from([(), (), (), ("x",)]),
    )


_rules = st.builds(
    ConsentRule,
    reference=st.just("Consent/c/_history/1"),
    id=st.just("c"),
    active=st.booleans(),
    patient=st.sampled_from(["p1", "p1", "p2"]),
    root=_provisions(2),
)
_facts = st.builds(
    lambda category, labels: case_facts({"type": "Observation", "category": category, "labels": labels}),
    st.sampled_from(["laboratory", "vital-signs", "laboratory,vital-signs"]),
    st.lists(st.sampled_from(["HIV", "SUD", "PSY"]), max_size=2),
)


@given(st.lists(_rules, max_size=4), _facts, st.randoms(use_true_random=False))
def test_the_order_of_consents_decides_nothing(rules: list[ConsentRule], facts: ResourceFacts, random: Any) -> None:
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert type(decide(rules, _AROUND, facts)) is type(decide(shuffled, _AROUND, facts))


@given(st.lists(_rules, max_size=3), _rules, _facts)
def test_a_deny_overrides_whatever_else_permits(
    rules: list[ConsentRule], other: ConsentRule, facts: ResourceFacts
) -> None:
    denying = replace(other, active=True, patient="p1", root=Provision("provision", permit=False))
    assert isinstance(decide([*rules, denying], _AROUND, facts), Deny)


@given(st.lists(_rules, max_size=3), st.integers(0, 2), _facts)
def test_a_nested_deny_never_opens_anything(rules: list[ConsentRule], at: int, facts: ResourceFacts) -> None:
    before = decide(rules, _AROUND, facts)
    narrowed = [
        replace(r, root=replace(r.root, provisions=(*r.root.provisions, Provision("new", permit=False))))
        if i == at
        else r
        for i, r in enumerate(rules)
    ]
    if isinstance(before, Deny):
        assert isinstance(decide(narrowed, _AROUND, facts), Deny)


@given(_facts)
def test_without_any_consent_everything_is_denied(facts: ResourceFacts) -> None:
    assert isinstance(decide([], _AROUND, facts), Deny)
