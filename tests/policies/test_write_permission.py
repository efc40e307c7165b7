"""A consent lets nobody write who isn't allowed to by name (docs/consent-semantics.md, `action`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from assent.policy_files import load_catalogue
from policies.classify import Classification
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.consent_rule import ConsentRule, Provision
from policies.decide import ReadPlan, plan_read
from policies.model import Access, Deny, Permit, ResourceFacts, Scope
from policies.purpose_of_use import BREAK_GLASS

APP = "urn:assent:client|app"
AROUND = Circumstances("ana", frozenset({APP}), "PATRQT", datetime(2026, 11, 21, tzinfo=UTC))
FACTS = ResourceFacts("Observation", "o", owners=frozenset({"ana"}))
KIND = Classification(frozenset({"laboratory"}), frozenset(), frozenset())


def _permits(action: str, *roots: Provision) -> bool:
    rules = tuple(ConsentRule(f"Consent/{n}", str(n), True, "ana", root) for n, root in enumerate(roots))
    around = replace(AROUND, writes=action)
    return isinstance(consent_decision(applicable(rules, around), around, FACTS, KIND), Permit)


def _rule(permit: bool, *actions: str, path: str = "provision", below: tuple[Provision, ...] = ()) -> Provision:
    return Provision(path, permit, actions=actions, provisions=below)


@pytest.mark.parametrize("action", ["collect", "correct"])
@pytest.mark.parametrize(
    ("actions", "writes"),
    [
        *(((), False), (("access",), False), (("use", "disclose"), False), (("access", "collect"), "collect")),
        *((("correct",), "correct"), (("access", "collect", "correct"), True)),
    ],
)
def test_a_permit_to_write_names_the_action(action: str, actions: tuple[str, ...], writes: bool | str) -> None:
    assert _permits(action, _rule(True, *actions)) is (writes is True or writes == action)


@pytest.mark.parametrize("denied", [(), ("correct",), ("access", "correct")])
def test_a_deny_of_the_action_or_of_all_overrides(denied: tuple[str, ...]) -> None:
    assert not _permits("correct", _rule(True, "access", "correct"), _rule(False, *denied))
    assert not _permits("correct", _rule(True, "access", "correct", below=(_rule(False, *denied, path="p[0]"),)))


def test_a_deny_of_another_action_leaves_this_one() -> None:
    assert _permits("correct", _rule(True, "access", "correct"), _rule(False, "collect"))


def test_an_exception_under_a_permit_of_reading_denies_writing_by_another_consent() -> None:
    reading = _rule(True, "access", below=(_rule(False, "correct", path="p[0]"),))
    assert not _permits("correct", reading, _rule(True, "access", "correct"))


def test_a_permit_to_write_under_one_that_only_reads_permits_nothing() -> None:
    assert not _permits("correct", _rule(True, "access", below=(_rule(True, "correct", path="p[0]"),)))


def test_a_permit_to_write_under_a_deny_of_all_counts() -> None:
    assert _permits("correct", _rule(False, below=(_rule(True, "correct", path="p[0]"),)))


def test_reading_is_decided_as_before() -> None:
    assert _permits("", _rule(True, "access", "correct"))
    assert not _permits("", _rule(True, "correct"))


@pytest.mark.parametrize("interaction", ["create", "update", "patch", "delete"])
def test_a_service_writes_nothing_whatever_its_scopes(interaction: str) -> None:
    service = Access("svc", "", (Scope("system", "*", "cruds"),), 0, "", subject="svc")
    found = plan_read(service, interaction, "Observation", load_catalogue())
    assert isinstance(found, Deny)
    assert found.reasons[0].text == "a backend service's token writes nothing"
    mine = Access("app", "g", (Scope("patient", "*", "cruds"),), 0, "", patient="ana")
    assert isinstance(plan_read(mine, interaction, "Observation", load_catalogue()), ReadPlan)


@pytest.mark.parametrize("interaction", ["create", "update", "patch", "delete"])
def test_an_emergency_writes_nothing_whatever_its_scopes(interaction: str) -> None:
    scopes = (Scope("patient", "*", "cruds"),)
    access = Access("app", "grant", scopes, 0, "", patient="ana", purpose=BREAK_GLASS)
    found = plan_read(access, interaction, "Observation", load_catalogue())
    assert isinstance(found, Deny)
    assert found.reasons[0].text == "a token for an emergency writes nothing"
