"""Laws that hold for all consents (docs/consent-semantics.md): what narrows never opens, what isn't understood never
opens, order decides nothing, R4 and R5 say the same, and nothing that is handed in raises or takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fhir.consents.reading import read_consent
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.consent_evaluation import Circumstances
from policies.decide import grantee_of
from policies.memberships import Memberships, means
from policies.model import Permit, ResourceFacts
from tests.effort import at_most
from tests.fuzzing import tries
from tests.policies import generated_consents as generated
from tests.policies.consents import NOW, case_facts, decide
from tests.policies.generated_consents import Json, Tree, r4, r5

_AROUND = Circumstances("p1", frozenset({grantee_of("app")}), "PATRQT", NOW)
_LAB = case_facts({"type": "Observation", "category": "laboratory"})
_lists_of_trees = st.lists(generated.trees(1), max_size=2)
# Many a drawn tree has nothing that could be narrowed: these are left out, and that is no mistake.
_more = tries(60)


def _permitted(consents: list[Any], around: Circumstances, facts: ResourceFacts) -> bool:
    return isinstance(decide([read_consent(consent) for consent in consents], around, facts), Permit)


@_more
@given(st.data(), generated.trees(), _lists_of_trees, generated.circumstances, generated.facts)
def test_a_deny_added_under_a_permit_never_opens_anything(
    data: st.DataObject, tree: Tree, others: list[Tree], around: Circumstances, facts: ResourceFacts
) -> None:
    permits = [place for place in generated.places(tree) if generated.at(tree, place).permit]
    assume(permits)
    place = data.draw(st.sampled_from(permits))
    permit = generated.at(tree, place)
    changed = replace(permit, below=(*permit.below, data.draw(generated.trees(1, permit=False))))
    narrowed = generated.put(tree, place, changed) if place else changed
    rest = [r4(other) for other in others]
    assert _permitted([r4(tree), *rest], around, facts) or not _permitted([r4(narrowed), *rest], around, facts)


def test_what_a_deny_excepts_stays_within_the_permit_around_it() -> None:
    """Labels of an exception aren't held to those of its parent: that lets a permit reach further, and no deny."""
    anything = Tree(True, {})
    exception = Tree(False, {"securityLabel": [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}]}, (anything,))
    sensitive = {"securityLabel": [{"system": ACT_CODE_SYSTEM, "code": "SUD"}]}
    assert not _permitted([r4(Tree(True, sensitive))], _AROUND, _LAB)
    assert not _permitted([r4(Tree(True, sensitive, (exception,)))], _AROUND, _LAB)


@_more
@given(st.data(), generated.trees(), _lists_of_trees, generated.circumstances, generated.facts)
def test_a_permit_taken_away_never_opens_anything(
    data: st.DataObject, tree: Tree, others: list[Tree], around: Circumstances, facts: ResourceFacts
) -> None:
    """A permit with exceptions that deny takes those away with it, which is no narrowing."""
    permits = [place for place in generated.places(tree) if generated.at(tree, place).only_permits()]
    assume(permits)
    place = data.draw(st.sampled_from(permits))
    rest = [r4(other) for other in others]
    narrowed = [r4(generated.put(tree, place, None)), *rest] if place else rest
    assert _permitted([r4(tree), *rest], around, facts) or not _permitted(narrowed, around, facts)


@_more
@given(st.data(), generated.trees(), _lists_of_trees, generated.circumstances, generated.facts)
def test_a_condition_added_to_a_permit_never_opens_anything(
    data: st.DataObject, tree: Tree, others: list[Tree], around: Circumstances, facts: ResourceFacts
) -> None:
    """In an exception a label or break-glass replaces what stands above it (IHE PCF): those aren't added here."""
    permits = [place for place in generated.places(tree) if generated.at(tree, place).only_permits()]
    assume(permits)
    place = data.draw(st.sampled_from(permits))
    permit = generated.at(tree, place)
    free = sorted(set(generated.ELEMENTS) - set(permit.elements) - ({"securityLabel"} if place else set()))
    name = data.draw(st.sampled_from(free))
    value = data.draw(generated.ELEMENTS[name])
    assume(not place or name != "purpose" or all(purpose["code"] != "BTG" for purpose in value))
    changed = replace(permit, elements={**permit.elements, name: value})
    rest = [r4(other) for other in others]
    narrowed = r4(generated.put(tree, place, changed) if place else changed)
    assert _permitted([r4(tree), *rest], around, facts) or not _permitted([narrowed, *rest], around, facts)


def _can_be_narrowed(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) > 1
    return bool(value.get("end", "2026-12") >= "2026-06-15")


@_more
@given(st.data(), generated.trees(), generated.circumstances, generated.facts)
def test_a_permit_with_fewer_values_or_a_shorter_time_never_opens_anything(
    data: st.DataObject, tree: Tree, around: Circumstances, facts: ResourceFacts
) -> None:
    permits = [p for p in generated.places(tree) if generated.at(tree, p).only_permits()]
    narrowable = [(p, n) for p in permits for n, v in generated.at(tree, p).elements.items() if _can_be_narrowed(v)]
    assume(narrowable)
    place, name = data.draw(st.sampled_from(narrowable))
    permit = generated.at(tree, place)
    value = permit.elements[name]
    if isinstance(value, list):
        gone = data.draw(st.integers(0, len(value) - 1))
        shorter: Any = [v for i, v in enumerate(value) if i != gone]
    else:
        shorter = {"start": value.get("start", "2025-07"), "end": "2026-06-15T11:59:59Z"}
    changed = replace(permit, elements={**permit.elements, name: shorter})
    narrowed = generated.put(tree, place, changed) if place else changed
    assert _permitted([r4(tree)], around, facts) or not _permitted([r4(narrowed)], around, facts)


@_more
@given(st.lists(generated.trees(), max_size=3), generated.circumstances, generated.facts, st.randoms())
def test_a_deny_overrides_whatever_else_permits(
    trees: list[Tree], around: Circumstances, facts: ResourceFacts, random: Random
) -> None:
    consents = [*map(r4, trees), r4(Tree(permit=False, elements={}))]
    random.shuffle(consents)
    assert not _permitted(consents, around, facts)


@_more
@given(st.lists(generated.trees(), max_size=3), generated.circumstances, generated.facts)
def test_each_consent_alone_denies_or_says_nothing_where_together_they_deny(
    trees: list[Tree], around: Circumstances, facts: ResourceFacts
) -> None:
    """Together they permit exactly when one permits and none denies."""
    rules = [read_consent(r4(tree)) for tree in trees]
    alone = [decide([rule], around, facts) for rule in rules]
    denies = any(not isinstance(d, Permit) and d.reasons[0].rule == "consent" for d in alone)
    permits = any(isinstance(d, Permit) for d in alone)
    assert isinstance(decide(rules, around, facts), Permit) == (permits and not denies)


@_more
@given(st.lists(generated.trees(), max_size=3), generated.circumstances, generated.facts, st.randoms())
def test_the_order_of_consents_provisions_and_values_decides_nothing(
    trees: list[Tree], around: Circumstances, facts: ResourceFacts, random: Random
) -> None:
    consents = [r4(tree) for tree in trees]
    assert _permitted(consents, around, facts) == _permitted(_shuffled(consents, random), around, facts)


def _shuffled(value: Any, random: Random) -> Any:
    """Every list and every object in another order, at every depth."""
    if isinstance(value, dict):
        names = random.sample(sorted(value), len(value))
        return {name: _shuffled(value[name], random) for name in names}
    if isinstance(value, list):
        return [_shuffled(item, random) for item in random.sample(value, len(value))]
    return value


@tries(120)
@given(generated.trees(alternating=True), generated.circumstances, generated.facts)
def test_r4_and_r5_say_the_same(tree: Tree, around: Circumstances, facts: ResourceFacts) -> None:
    root = {name: value for name, value in tree.elements.items() if name in ("actor", "period")}
    common = replace(tree, elements=root)
    assert _permitted([r4(common)], around, facts) == _permitted([r5(common)], around, facts)


@tries(120)
@given(st.data(), generated.trees(alternating=True), _lists_of_trees, generated.circumstances, generated.facts)
def test_what_is_not_understood_never_opens_anything(
    data: st.DataObject, tree: Tree, others: list[Tree], around: Circumstances, facts: ResourceFacts
) -> None:
    write = data.draw(st.sampled_from([r4, r5]))
    consent, rest = write(tree), [r4(other) for other in others]
    before = _permitted([consent, *rest], around, facts)
    place = _drawn(data, list(_objects(consent)))
    name, value = data.draw(
        st.sampled_from([("modifierExtension", [{"url": "http://x"}]), ("unless", "x"), ("_unless", {}), ("x", None)])
    )
    place[name] = value
    assert before or not _permitted([consent, *rest], around, facts)


@_more
@given(st.data(), generated.trees(alternating=True), generated.facts)
def test_what_is_not_understood_in_the_envelope_or_the_root_closes_all(
    data: st.DataObject, tree: Tree, facts: ResourceFacts
) -> None:
    elements = {name: value for name, value in tree.elements.items() if name != "period"}
    consent = data.draw(st.sampled_from([r4, r5]))(replace(tree, elements=elements))
    place = consent
    if "patient" in consent and data.draw(st.booleans()):
        root = {name: value for name, value in consent["provision"].items() if name != "provision"}
        place = _drawn(data, [consent["provision"], *list(_objects(root))[1:]])
    place[data.draw(st.sampled_from(["modifierExtension", "unless", "_unless"]))] = [{"url": "http://x"}]
    permit_all = r4(Tree(permit=True, elements={}))
    assert _permitted([permit_all], _AROUND, facts)
    assert not _permitted([permit_all, consent], _AROUND, facts)


def _drawn(data: st.DataObject, objects: list[Json]) -> Json:
    return objects[data.draw(st.integers(0, len(objects) - 1))]


def _objects(value: Any) -> Iterator[Json]:
    """Every object in it, `meta` apart."""
    if isinstance(value, dict):
        yield value
        for name, item in value.items():
            if name != "meta":
                yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


_NAMES = (
    *("resourceType", "id", "meta", "versionId", "status", "scope", "patient", "subject", "provision", "decision"),
    *("policyRule", "period", "grantee", "type", "actor", "role", "reference", "identifier", "system", "value"),
    *("action", "securityLabel", "purpose", "class", "code", "coding", "dataPeriod", "data", "meaning", "start"),
    *("end", "resourceType", "documentType", "expression", "verification", "modifierExtension", "_type", "use"),
)
_WORDS = ("Consent", "active", "permit", "deny", "Patient/p1", "IRCP", "OPTIN", "access", "instance", "2026", "N", "")
_leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(_WORDS)),
    st.sampled_from(["http://terminology.hl7.org/CodeSystem/v3-ActReason", "9999-12-31T23:59:60-14:00", "\ud800", "/"]),
)
_hostile = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)


@tries(120)
@given(_hostile, generated.circumstances, generated.facts)
def test_no_json_whatever_raises(content: Any, around: Circumstances, facts: ResourceFacts) -> None:
    _permitted([content], around, facts)


@tries(120)
@given(st.data(), generated.trees(alternating=True), generated.circumstances, generated.facts)
def test_no_consent_with_junk_in_it_raises(
    data: st.DataObject, tree: Tree, around: Circumstances, facts: ResourceFacts
) -> None:
    consent = data.draw(st.sampled_from([r4, r5]))(tree)
    place = _drawn(data, list(_objects(consent)))
    place[data.draw(st.sampled_from([*place, "x"]))] = data.draw(_hostile)
    _permitted([consent], around, facts)


def _wide(count: int) -> Json:
    return r4(Tree(True, {}, tuple(Tree(False, {"code": _CODE}) for _ in range(count))))


def _deep(depth: int) -> Json:
    provision: Json = {"type": "permit"}
    for _ in range(depth):
        provision = {"type": "permit", "provision": [provision]}
    return {**r4(Tree(True, {})), "provision": provision}


_CODE = [{"coding": [{"system": "http://loinc.org", "code": "1-8"}]}]
_NOWHERE = {"role": {"coding": [{"code": "IRCP"}]}, "reference": {"reference": "/" * 10**6}}


# Made when it is their turn, not when tests are collected: together they are large.
@pytest.mark.parametrize(
    ("made", "permitted"),
    [
        (lambda: _wide(10_000), True),
        (lambda: _wide(10_001), False),
        (lambda: _wide(100_000), False),
        (lambda: _deep(15), True),
        (lambda: _deep(16), True),
        (lambda: _deep(17), False),
        (lambda: _deep(1_000), False),
        (lambda: r4(Tree(True, {"actor": [_NOWHERE]})), False),
        (lambda: r4(Tree(True, {"purpose": [{"system": "x", "code": "y"}] * 100_000})), False),
        (lambda: r4(Tree(True, {"period": {"end": "2" * 10**6}})), False),
        (lambda: r4(Tree(True, {}), **{f"x{i}": i for i in range(100_000)}), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else "consent",
)
def test_the_largest_consents_are_decided_or_refused_with_bounded_work(
    made: Callable[[], Json], permitted: bool
) -> None:
    consent = made()
    with at_most(5_000_000):
        assert _permitted([consent], _AROUND, _LAB) == permitted


def test_a_provision_is_asked_about_in_a_dozen_calls() -> None:
    rule = read_consent(_wide(10_000))
    with at_most(200_000):
        decide([rule], _AROUND, _LAB)


def test_groups_without_end_are_followed_no_further_than_a_bound() -> None:
    chain = Memberships({f"Group/{i}": frozenset({f"Group/{i + 1}"}) for i in range(5_000)})
    asker = frozenset({"Group/0"})
    assert means(["Group/900"], asker, chain, permit=True)
    assert not means(["Group/4000"], asker, chain, permit=True)
    assert means(["Group/4000"], asker, chain, permit=False)
    assert means(["Practitioner/x"], asker, chain, permit=False)


def test_a_circle_of_groups_ends() -> None:
    circle = Memberships({"Group/a": frozenset({"Group/b"}), "Group/b": frozenset({"Group/a"})})
    assert means(["Group/b"], frozenset({"Group/a"}), circle, permit=True)
    assert not means(["Group/c"], frozenset({"Group/a"}), circle, permit=False)
