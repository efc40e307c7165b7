"""A gateway that goes by the scopes and the residual rules (IHE PCF 1.1) lets nothing through that consents deny."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir.consents.reading import read_consent
from policies.classify import classify
from policies.codes import ACT_CODE_SYSTEM, ACT_REASON_SYSTEM, CONFIDENTIALITY_SYSTEM, DATA_CATEGORY_SYSTEM
from policies.consent_evaluation import Circumstances
from policies.consent_rule import ConsentRule
from policies.model import Coding, Permit, ResourceFacts, Scope
from policies.open_categories import open_categories
from policies.residual import CLOSED, ResidualRule, residual_rules
from policies.scope_match import covers
from smart.scope_intersection import granted_scopes
from tests.policies import generated_consents as generated
from tests.policies.consents import CATALOGUE, Vectors, case_facts, circumstances, decide
from tests.policies.generated_consents import Tree, r4
from tests.policies.test_consent_evaluation import _CASES

_PCF = Vectors("consents_pcf.yaml")
_NORMAL, _RESTRICTED, _VERY = (Coding(CONFIDENTIALITY_SYSTEM, code) for code in "NRV")
_PSY, _VIOLENCE = (Coding(ACT_CODE_SYSTEM, code) for code in ("PSY", "SDV"))
_BY = (("authoredby", "Practitioner/ex-practitioner"),)
_ALL = ResidualRule(False)
_OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_RECENT = {"dataPeriod": {"start": "2025"}}
_HB = [{"coding": [{"system": "http://loinc.org", "code": "718-7"}]}]


def _class(*codes: str) -> list[dict[str, str]]:
    return [{"system": DATA_CATEGORY_SYSTEM, "code": code} for code in codes]


def _reason(code: str) -> dict[str, str]:
    return {"system": ACT_REASON_SYSTEM, "code": code}


def _residual(consent: str, **case: Any) -> tuple[ResidualRule, ...]:
    asked = {"consent": consent, "purpose": "TREAT", **case}
    return _rules_left(_PCF.consents_of(asked), circumstances(asked))


def _rules_left(rules: Sequence[ConsentRule], around: Circumstances) -> tuple[ResidualRule, ...]:
    return residual_rules(rules, around, CATALOGUE, open_categories(rules, around, CATALOGUE))


@pytest.mark.parametrize(
    ("consent", "case", "expected"),
    [
        ("basic-treat", {}, ()),
        ("intermediate-authoredby", {}, (_ALL, ResidualRule(True, data=_BY))),
        ("intermediate-not-authoredby", {}, (ResidualRule(False, data=_BY),)),
        ("advanced-normal", {}, (_ALL, ResidualRule(True, (_NORMAL,)))),
        ("advanced-normal-restricted", {}, (_ALL, ResidualRule(True, (_NORMAL, _RESTRICTED)))),
        (
            "advanced-normal-not-restricted",
            {},
            (_ALL, ResidualRule(True, (_NORMAL,)), ResidualRule(False, (_RESTRICTED, _VERY))),
        ),
        ("advanced-normal-focused-psy-or-sdv", {}, (_ALL, ResidualRule(True, (_NORMAL,)))),
        (
            "advanced-normal-focused-psy-or-sdv",
            {"users": ["Practitioner/ex-practitioner"]},
            (_ALL, ResidualRule(True, (_NORMAL,)), ResidualRule(True, (_PSY, _VIOLENCE))),
        ),
        ("basic-reject", {}, CLOSED),
        ("intermediate-data", {}, None),
        ("basic-treat", {"purpose": "HRESCH"}, CLOSED),
    ],
)
def test_the_published_examples_leave_what_their_notes_say(
    consent: str, case: dict[str, Any], expected: tuple[ResidualRule, ...] | None
) -> None:
    found = _residual(consent, **case)
    if expected is None:
        assert [rule.permit for rule in found] == [False, True]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("category", "kept_back", "let_through"),
    [
        ("hiv", {"HIV"}, {"R", "PSY"}),
        ("mental-health", {"MH", "PSY", "BH"}, {"HIV", "R", "ETH", "OPIOIDUD"}),
        ("substance-use", {"SUD", "ETH", "ETHUD", "OPIOIDUD", "BH"}, {"MH", "PSY"}),
        ("other-sensitive", {"R", "V"}, {"HIV", "N"}),
    ],
)
def test_a_sensitive_category_that_is_kept_back_is_told_by_every_label_that_may_mean_it(
    category: str, kept_back: set[str], let_through: set[str]
) -> None:
    classes = [{"system": DATA_CATEGORY_SYSTEM, "code": category}]
    provision = {"provision": [{"type": "deny", "class": classes}]}
    (rule,) = _residual("basic-treat", provision=provision)
    codes = {code for _, code in rule.labels}
    assert not rule.permit
    assert kept_back <= codes
    assert codes.isdisjoint(let_through)


def test_an_everyday_category_that_is_kept_back_is_told_by_the_scopes() -> None:
    assert _residual("basic-treat", provision={"provision": [{"type": "deny", "class": _class("conditions")}]}) == ()


def test_one_whose_data_may_also_be_in_an_open_category_is_not() -> None:
    """A result that is both is denied, and the scope of the other names it (US Core: an Observation has categories)."""
    denied = {"provision": [{"type": "deny", "class": _class("laboratory")}]}
    assert _residual("basic-treat", provision=denied) == CLOSED
    assert _residual("basic-treat", provision={**denied, "class": _class("laboratory", "conditions")}) == ()
    assert _residual("basic-treat", provision={**denied, "class": _class("vital-signs", "conditions")}) == CLOSED


@pytest.mark.parametrize(
    "provision",
    [
        {"code": [{"coding": [{"system": "http://loinc.org", "code": "718-7"}]}]},
        {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]},
        {"provision": [{"type": "deny", "code": [{"coding": [{"system": "http://loinc.org", "code": "718-7"}]}]}]},
        {"provision": [{"type": "deny", "modifierExtension": [{}]}]},
        {
            "securityLabel": [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}],
            "provision": [{"type": "deny", "securityLabel": [{"system": ACT_CODE_SYSTEM, "code": "HIV"}]}],
        },
        {"class": _class("hiv")},
        {"class": _class("laboratory", "hiv")},
        {"provision": [{"type": "deny", "class": _class("conditions"), "provision": [{"type": "permit", **_RECENT}]}]},
        {"provision": [{"type": "permit", "provision": [{"type": "deny", "code": _HB}]}]},
    ],
)
def test_what_cant_be_said_is_forbidden(provision: dict[str, Any]) -> None:
    assert _residual("basic-treat", provision=provision) == CLOSED


@pytest.mark.parametrize(
    ("around", "kept_back"),
    [
        ({"type": "permit", "class": _class("laboratory")}, {"HIV"}),
        ({"type": "deny", "securityLabel": [_RESTRICTED._asdict()]}, {"R", "V", "HIV"}),
    ],
    ids=["under a permit", "under a deny of other labels"],
)
def test_what_an_exception_denies_is_kept_back_at_any_depth(around: dict[str, Any], kept_back: set[str]) -> None:
    hiv = {"type": "deny", "securityLabel": [{"system": ACT_CODE_SYSTEM, "code": "HIV"}]}
    found = _residual("basic-treat", provision={"provision": [{**around, "provision": [hiv]}]})
    assert {label.code for rule in found for label in rule.labels if not rule.permit} == kept_back


def test_what_is_denied_for_break_glass_below_another_purpose_is_kept_back() -> None:
    denied = {"type": "deny", "purpose": [_reason("HRESCH")]}
    hiv = {"type": "deny", "purpose": [_reason("BTG")], "securityLabel": [{"system": ACT_CODE_SYSTEM, "code": "HIV"}]}
    provision = {"purpose": None, "provision": [{**denied, "provision": [hiv]}]}
    (rule,) = _residual("basic-treat", purpose="BTG", provision=provision)
    assert (rule.permit, [label.code for label in rule.labels]) == (False, ["HIV"])


def test_what_another_consent_opens_on_conditions_is_kept_back() -> None:
    """The scopes name both categories, though of the second one only what is recent is open."""
    laboratory = Tree(True, {"class": _class("laboratory")})
    recent = Tree(False, {"class": _class("conditions")}, (Tree(True, _RECENT),))
    rules = [read_consent(r4(tree)) for tree in (laboratory, recent)]
    assert _rules_left(rules, circumstances({})) == CLOSED


def test_a_level_that_one_consent_forbids_isnt_permitted_by_another() -> None:
    """For gateways a permit overrides every forbid."""
    asked = {"consents": ["advanced-normal-not-restricted", "advanced-normal-restricted"], "purpose": "TREAT"}
    found = _rules_left(_PCF.consents_of(asked), circumstances(asked))
    assert found == (_ALL, ResidualRule(True, (_NORMAL,)), ResidualRule(False, (_RESTRICTED, _VERY)))


def test_a_time_frame_is_the_only_time_let_through() -> None:
    first, second = _residual("intermediate-timeframe")
    assert first == _ALL
    assert second.data_period is not None
    assert second.data_period.start is not None
    assert (second.permit, second.data_period.start.isoformat()) == (True, "2022-01-01T00:00:00+00:00")


@pytest.mark.parametrize(("vectors", "case"), _CASES)
def test_a_gateway_lets_nothing_through_that_is_denied(vectors: Vectors, case: dict[str, Any]) -> None:
    facts = case_facts({"category": "laboratory", **case["resource"]})
    _check_that_less_is_let_through(vectors.consents_of(case), circumstances(case), facts)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    st.lists(generated.trees(), min_size=1, max_size=2),
    generated.circumstances,
    generated.facts,
    st.sampled_from([(), ("laboratory", "vital-signs"), ("laboratory", "survey")]),
    st.sampled_from([None, frozenset({"laboratory", "hiv"}), frozenset({"vital-signs", "conditions"})]),
)
def test_whatever_consents_say_a_gateway_lets_nothing_through_that_is_denied(
    trees: list[Tree],
    around: Circumstances,
    facts: ResourceFacts,
    categories: tuple[str, ...],
    within: frozenset[str] | None,
) -> None:
    facts = _in_categories(facts, *categories)
    around = replace(around, categories=CATALOGUE.codes, wholes=CATALOGUE.wholes, within=within)
    _check_that_less_is_let_through([read_consent(r4(tree)) for tree in trees], around, facts)


def _in_categories(facts: ResourceFacts, *categories: str) -> ResourceFacts:
    if facts.resource_type != "Observation" or not categories:
        return facts
    return replace(facts, tokens={"category": frozenset(Coding(_OBSERVATION_CATEGORY, code) for code in categories)})


def _check_that_less_is_let_through(rules: list[ConsentRule], around: Circumstances, facts: ResourceFacts) -> None:
    """What the scopes of the open categories name, and the residual leaves, is permitted.

    What belongs to no category is beside the point: consents don't say that it stays closed.
    """
    kind = classify(facts, CATALOGUE)
    opened = open_categories(rules, around, CATALOGUE)
    scopes = granted_scopes([Scope("patient", "*", "rs")], opened, CATALOGUE.categories.values())
    residual = residual_rules(rules, around, CATALOGUE, opened)
    if (
        kind.everyday
        and any(covers(scope, facts) for scope in scopes)
        and _lets_through(residual, facts, kind.labels, around)
    ):
        assert isinstance(decide(rules, around, facts), Permit)


def _lets_through(
    residual: Sequence[ResidualRule], facts: ResourceFacts, implied: frozenset[Coding], around: Circumstances
) -> bool:
    """As the text of PCF has it: a permit overrides a forbid, and what isn't forbidden goes through.

    `implied`: what a labelling service adds, by which it forbids and doesn't permit.
    """
    own = {True: facts.labels, False: facts.labels | implied}
    found = [rule.permit for rule in residual if _is_about(rule, facts, own[rule.permit], around)]
    return True in found or False not in found


def _is_about(rule: ResidualRule, facts: ResourceFacts, labels: frozenset[Coding], around: Circumstances) -> bool:
    normal = labels if any(label.system == CONFIDENTIALITY_SYSTEM for label in labels) else labels | {_NORMAL}
    if rule.labels and normal.isdisjoint(rule.labels):
        return False
    if rule.data_period is not None:
        if facts.period is None:
            return not rule.permit
        low, high = facts.period
        start, end = rule.data_period.start or low, rule.data_period.end or high
        if not (start <= low and high <= end if rule.permit else low <= end and start <= high):
            return False
    return not rule.data or any(_names(*named, facts, rule, around) for named in rule.data)


def _names(meaning: str, name: str, facts: ResourceFacts, rule: ResidualRule, around: Circumstances) -> bool:
    itself = f"{facts.resource_type}/{facts.id}"
    if meaning == "authoredby":
        persons = [author.startswith("Practitioner/") for author in facts.authors]
        unknown = not (persons and all(persons)) or not name.startswith("Practitioner/")
        return name in facts.authors or (unknown and not rule.permit)
    links = (around.links or {}).get(name)
    related = meaning == "related" and (itself in links if links is not None else not rule.permit)
    return itself == name or related or (meaning in ("related", "dependents") and name in facts.references)
