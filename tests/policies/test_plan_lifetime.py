"""A plan that is kept for the token's next request is the one that would be made then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.consents.directory import NO_DIRECTORY
from fhir.consents.reading import read_consent
from fhir.proxy.read_plans import ReadPlans
from fhir.r4.interaction import Interaction
from policies.classify import Classification
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.consent_rule import ConsentRule, Period, Provision, unchanged_until
from policies.decide import ReadPlan, decide_resource
from policies.model import Access, Deny, Permit, ResourceFacts, Scope
from tests.policies import generated_consents as generated
from tests.policies.consents import CATALOGUE, NOW
from tests.policies.generated_consents import Tree, r4

_SECOND = timedelta(seconds=1)
_ALWAYS = Period()
_LAB = ResourceFacts("Observation", "o1", owners=frozenset({"p1"}))
_KIND = Classification(frozenset({"laboratory"}), frozenset(), frozenset())
_READ = Interaction("read", "Observation", "o1")
_ACCESS = Access("app", "g", (Scope("patient", "*", "rs"),), 0, "j", patient="p1")


class Register:
    """Gives out the rules that a test sets, the same object until it sets others."""

    def __init__(self, *rules: ConsentRule) -> None:
        self.now = rules

    async def rules(self, patient: str) -> tuple[ConsentRule, ...]:
        return self.now


class Nobody:
    """Nobody shares with a service."""

    async def naming(self, grantee: str, now: datetime, limit: int) -> Sequence[str]:
        return ()


def _rule(*nested: Provision, period: Period = _ALWAYS) -> ConsentRule:
    root = Provision("provision", True, provisions=nested)
    return ConsentRule("Consent/c/_history/1", "c", True, "p1", root, period=period)


def _plans(register: Register) -> ReadPlans:
    return ReadPlans(register, Nobody(), CATALOGUE, NO_DIRECTORY)  # type: ignore[arg-type]  # all of a register that is asked here


async def test_a_token_s_next_request_has_the_same_plan() -> None:
    plans = _plans(Register(_rule()))
    first = await plans.begin(_ACCESS, _READ, NOW)
    assert await plans.begin(_ACCESS, _READ, NOW + _SECOND) is first
    assert await plans.begin(_ACCESS, Interaction("read", "Observation", "o2"), NOW) is first


async def test_another_token_interaction_or_type_has_its_own() -> None:
    plans = _plans(Register(_rule()))
    first = await plans.begin(_ACCESS, _READ, NOW)
    for access, interaction in (
        (replace(_ACCESS), _READ),
        (_ACCESS, Interaction("search-type", "Observation")),
        (_ACCESS, Interaction("read", "Condition", "o1")),
    ):
        assert await plans.begin(access, interaction, NOW) is not first


async def test_a_changed_consent_makes_a_new_plan_at_once() -> None:
    register = Register(_rule())
    plans = _plans(register)
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW), ReadPlan)
    register.now = ()
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW), Deny)
    register.now = (_rule(),)
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW), ReadPlan)


async def test_a_consent_that_ends_between_two_requests_is_over_at_the_second() -> None:
    plans = _plans(Register(_rule(period=Period(end=NOW))))
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW - _SECOND), ReadPlan)
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW), ReadPlan)
    assert isinstance(await plans.begin(_ACCESS, _READ, NOW + _SECOND), Deny)


async def test_an_exception_that_begins_between_two_requests_counts_from_its_first_second() -> None:
    plans = _plans(Register(_rule(Provision("provision.provision[0]", False, period=Period(start=NOW)))))
    outcomes = []
    for moment in (NOW - 2 * _SECOND, NOW - _SECOND, NOW, NOW + _SECOND):
        plan = await plans.begin(_ACCESS, _READ, moment)
        assert isinstance(plan, ReadPlan)
        outcomes.append(type(decide_resource(plan, _LAB, CATALOGUE, _KIND)))
    assert outcomes == [Permit, Permit, Deny, Deny]


_moments = st.integers(0, 13 * 365 * 86_400).map(lambda seconds: datetime(2019, 1, 1, tzinfo=UTC) + seconds * _SECOND)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(generated.trees(), min_size=1, max_size=3), generated.circumstances, generated.facts, _moments, _moments
)
def test_until_then_time_alone_changes_nothing(
    trees: list[Tree], around: Circumstances, facts: ResourceFacts, first: datetime, second: datetime
) -> None:
    rules = tuple(read_consent(r4(tree)) for tree in trees)
    then, until = min(first, second), unchanged_until(rules, min(first, second))
    later = max(first, second) if until is None else min(max(first, second), until - timedelta(microseconds=1))
    if later < then:
        return  # it changes at this very instant
    outcomes = []
    for moment in (then, later):
        here = replace(around, now=moment)
        found = applicable(rules, here)
        outcomes.append((found, consent_decision(found, here, facts, _KIND)))
    assert outcomes[0] == outcomes[1]
