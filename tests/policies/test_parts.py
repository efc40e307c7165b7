"""Categories that are a part of another: what consents that name the part, or its whole, open and close."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from policies.classify import classify
from policies.codes import DATA_CATEGORY_SYSTEM
from policies.consent_evaluation import Circumstances
from policies.consent_rule import ConsentRule, Provision
from policies.decide import grantee_of
from policies.model import Coding, Permit, ResourceFacts, Scope
from policies.open_categories import open_categories
from policies.parts import lies_within
from policies.residual import CLOSED, ResidualRule, residual_rules
from tests.policies.consents import CATALOGUE, NOW, decide

HL7 = "http://terminology.hl7.org/CodeSystem/condition-category"
US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
PROBLEM, DIAGNOSIS = Coding(HL7, "problem-list-item"), Coding(HL7, "encounter-diagnosis")
CONCERN, ODD = Coding(US_CORE, "health-concern"), Coding(HL7, "health-concern")
AROUND = Circumstances(
    "p1", frozenset({grantee_of("app")}), "TREAT", NOW, categories=CATALOGUE.codes, wholes=CATALOGUE.wholes
)


def _condition(*categories: Coding) -> ResourceFacts:
    return ResourceFacts(
        "Condition", "c", owners=frozenset({"p1"}), tokens={"category": frozenset(categories)}, codes=frozenset()
    )


def _rule(code: str, *, permit: bool = True) -> ConsentRule:
    root = Provision("provision", permit, classes=(Coding(DATA_CATEGORY_SYSTEM, code),))
    return ConsentRule(f"Consent/{code}", code, True, "p1", root)


def _sees(rules: Sequence[ConsentRule], facts: ResourceFacts, within: Collection[str] | None = None) -> bool:
    around = replace(AROUND, within=None if within is None else frozenset(within))
    return isinstance(decide(list(rules), around, facts), Permit)


def _open(rules: Sequence[ConsentRule], within: Collection[str] | None = None) -> set[str]:
    around = replace(AROUND, within=None if within is None else frozenset(within))
    found = open_categories(rules, around, CATALOGUE)
    return {category.code for category in found if category.scopes and not category.always}


def _residual(rules: Sequence[ConsentRule]) -> tuple[ResidualRule, ...]:
    return residual_rules(rules, AROUND, CATALOGUE, open_categories(rules, AROUND, CATALOGUE))


@pytest.mark.parametrize(
    ("categories", "parts"),
    [
        ((PROBLEM,), {"problem-list"}),
        ((DIAGNOSIS,), {"visit-diagnoses"}),
        ((CONCERN,), {"health-concerns"}),
        ((PROBLEM, DIAGNOSIS), {"problem-list", "visit-diagnoses"}),
        ((ODD,), set()),
        ((Coding("", "problem-list-item"),), set()),
        ((), set()),
    ],
)
def test_every_condition_is_in_the_whole_and_in_the_parts_that_its_categories_name(
    categories: tuple[Coding, ...], parts: set[str]
) -> None:
    assert classify(_condition(*categories), CATALOGUE).everyday == {"conditions", *parts}


def test_a_permit_of_the_whole_opens_what_it_always_did() -> None:
    for categories in ((PROBLEM,), (DIAGNOSIS,), (CONCERN,), (ODD,), ()):
        assert _sees([_rule("conditions")], _condition(*categories))
    assert _open([_rule("conditions")]) == {"conditions", "problem-list", "health-concerns", "visit-diagnoses"}


def test_a_permit_of_a_part_opens_that_part_alone() -> None:
    rules = [_rule("visit-diagnoses")]
    assert _sees(rules, _condition(DIAGNOSIS))
    assert not any(_sees(rules, _condition(*other)) for other in ((PROBLEM,), (CONCERN,), (ODD,), ()))
    assert _open(rules) == {"visit-diagnoses"}


def test_a_deny_of_the_whole_denies_its_parts_whoever_permits_them() -> None:
    rules = [_rule("visit-diagnoses"), _rule("conditions", permit=False)]
    assert not _sees(rules, _condition(DIAGNOSIS))
    assert _open(rules) == set()


def test_a_deny_of_a_part_leaves_the_rest_of_the_whole() -> None:
    rules = [_rule("conditions"), _rule("visit-diagnoses", permit=False)]
    assert not _sees(rules, _condition(DIAGNOSIS))
    assert not _sees(rules, _condition(PROBLEM, DIAGNOSIS))
    assert _sees(rules, _condition(PROBLEM))
    assert _sees(rules, _condition())
    assert _open(rules) == {"conditions", "problem-list", "health-concerns"}


@pytest.mark.parametrize(
    ("permitted", "within", "seen"),
    [
        ("conditions", "visit-diagnoses", {DIAGNOSIS}),
        ("visit-diagnoses", "conditions", {DIAGNOSIS}),
        ("visit-diagnoses", "visit-diagnoses", {DIAGNOSIS}),
        ("conditions", "conditions", {DIAGNOSIS, PROBLEM, CONCERN}),
        ("visit-diagnoses", "problem-list", set()),
        ("conditions", "laboratory", set()),
    ],
)
def test_a_token_held_to_categories_sees_what_both_it_and_the_consent_name(
    permitted: str, within: str, seen: set[Coding]
) -> None:
    rules = [_rule(permitted)]
    assert {c for c in (DIAGNOSIS, PROBLEM, CONCERN) if _sees(rules, _condition(c), {within})} == seen
    assert bool(_open(rules, {within})) is bool(seen)


def test_a_token_held_to_a_part_doesnt_see_what_another_part_permits() -> None:
    both = _condition(DIAGNOSIS, PROBLEM)
    assert not _sees([_rule("visit-diagnoses")], both, {"problem-list"})
    assert _sees([_rule("conditions")], both, {"problem-list"})


def test_gateways_are_told_to_keep_all_back_where_a_part_of_what_the_scopes_name_is_denied() -> None:
    deny = _rule("visit-diagnoses", permit=False)
    whole, part = _rule("conditions"), _rule("problem-list")
    anything = ConsentRule("Consent/any", "any", True, "p1", Provision("provision", True))
    assert _residual([whole, deny]) == CLOSED
    assert _residual([anything, deny]) == CLOSED
    assert _residual([part, deny]) == CLOSED  # a problem may be a diagnosis, too
    assert _residual([part]) == ()
    assert _residual([whole, _rule("conditions", permit=False)]) == ()


def test_what_two_lists_have_in_common_is_said_in_the_widest_words_that_both_bear() -> None:
    common = CATALOGUE.common
    assert common(["conditions"], ["visit-diagnoses", "laboratory"]) == ("visit-diagnoses",)
    assert common(["visit-diagnoses"], ["conditions"]) == ("visit-diagnoses",)
    assert common(["visit-diagnoses", "conditions"], ["conditions"]) == ("conditions",)
    assert common(["visit-diagnoses"], ["problem-list"]) == ()


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (("Condition", {"category": "a"}), ("Condition", {}), True),
        (("Condition", {}), ("Condition", {"category": "a"}), False),
        (("Condition", {"category": "a"}), ("Condition", {"category": "a,b"}), True),
        (("Condition", {"category": "a,c"}), ("Condition", {"category": "a,b"}), False),
        (("Condition", {"category": "a", "code": "x"}), ("Condition", {"category": "a"}), True),
        (("Condition", {"category": "a"}), ("Observation", {"category": "a"}), False),
        (("Condition", {"category": "a"}), ("*", {}), True),
    ],
)
def test_a_line_lies_within_another_by_type_and_by_every_parameter(
    narrow: tuple[str, dict[str, str]], wide: tuple[str, dict[str, str]], expected: bool
) -> None:
    first, second = (Scope("patient", kind, "rs", tuple(found.items())) for kind, found in (narrow, wide))
    assert lies_within(first, second) is expected
