"""A gateway that goes by the scopes and the residual rules (IHE PCF 1.1) lets nothing through that consents deny."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from policies.classify import classify
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.model import Coding, Permit, ResourceFacts
from policies.open_categories import open_categories
from policies.residual import CLOSED, ResidualRule, residual_rules
from tests.policies.consents import CATALOGUE, Vectors, case_facts, circumstances, decide
from tests.policies.test_consent_evaluation import _CASES

_PCF = Vectors("consents_pcf.yaml")
_NORMAL, _RESTRICTED, _VERY = (Coding(CONFIDENTIALITY_SYSTEM, code) for code in "NRV")
_PSY, _VIOLENCE = (Coding(ACT_CODE_SYSTEM, code) for code in ("PSY", "SDV"))
_BY = (("authoredby", "Practitioner/ex-practitioner"),)
_ALL = ResidualRule(False)


def _residual(consent: str, **case: Any) -> tuple[ResidualRule, ...]:
    asked = {"consent": consent, "purpose": "TREAT", **case}
    return residual_rules(_PCF.consents_of(asked), circumstances(asked), CATALOGUE)


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


def test_a_time_frame_is_the_only_time_let_through() -> None:
    first, second = _residual("intermediate-timeframe")
    assert first == _ALL
    assert second.data_period is not None
    assert second.data_period.start is not None
    assert (second.permit, second.data_period.start.isoformat()) == (True, "2022-01-01T00:00:00+00:00")


@pytest.mark.parametrize(("vectors", "case"), _CASES)
def test_a_gateway_lets_nothing_through_that_is_denied(vectors: Vectors, case: dict[str, Any]) -> None:
    rules, around, facts = vectors.consents_of(case), circumstances(case), case_facts(case["resource"])
    kind = classify(facts, CATALOGUE)
    opened = {category.code for category in open_categories(rules, around, CATALOGUE)}
    by_scope = bool(kind.everyday & opened)
    if by_scope and _lets_through(residual_rules(rules, around, CATALOGUE), facts, kind.labels, case):
        assert isinstance(decide(rules, around, facts), Permit)


def _lets_through(
    residual: Sequence[ResidualRule], facts: ResourceFacts, implied: frozenset[Coding], case: dict[str, Any]
) -> bool:
    """As the text of PCF has it: a permit overrides a forbid, and what isn't forbidden goes through.

    `implied`: what a labelling service adds, by which it forbids and doesn't permit.
    """
    own = {True: facts.labels, False: facts.labels | implied}
    found = [rule.permit for rule in residual if _is_about(rule, facts, own[rule.permit], case)]
    return True in found or False not in found


def _is_about(rule: ResidualRule, facts: ResourceFacts, labels: frozenset[Coding], case: dict[str, Any]) -> bool:
    normal = labels if any(label.system == CONFIDENTIALITY_SYSTEM for label in labels) else labels | {_NORMAL}
    if rule.labels and normal.isdisjoint(rule.labels):
        return False
    if rule.data_period is not None:
        if facts.period is None:
            return not rule.permit
        inside = [rule.data_period.holds(bound) for bound in facts.period]
        if not (all(inside) if rule.permit else any(inside)):
            return False
    return not rule.data or any(_names(*named, facts, rule, case) for named in rule.data)


def _names(meaning: str, name: str, facts: ResourceFacts, rule: ResidualRule, case: dict[str, Any]) -> bool:
    itself = f"{facts.resource_type}/{facts.id}"
    if meaning == "authoredby":
        unknown = not facts.authors or "" in facts.authors or not name.startswith("Practitioner/")
        return name in facts.authors or (unknown and not rule.permit)
    links = case.get("links", {}).get(name)
    related = meaning == "related" and (itself in links if links is not None else not rule.permit)
    return itself == name or related or (meaning in ("related", "dependents") and name in facts.references)
