"""Hypothesis strategies for consents as JSON, for who asks, and for what is asked about.

A consent is drawn as a tree of provisions that knows no release; it is written as R4, and as R5 where its polarities
alternate. Values are few, so that conditions and questions meet often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from policies.codes import (
    ACT_CODE_SYSTEM,
    ACT_REASON_SYSTEM,
    CLIENT_SYSTEM,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_ACTION_SYSTEM,
    DATA_CATEGORY_SYSTEM,
    PARTICIPATION_SYSTEM,
    RESOURCE_TYPES_SYSTEM,
)
from policies.consent_evaluation import Circumstances
from policies.decide import grantee_of
from policies.memberships import Memberships
from policies.model import ResourceFacts
from tests.policies.consents import case_facts

Json = dict[str, Any]


@dataclass(frozen=True)
class Tree:
    """A provision: its polarity, its elements as R4 writes them, its exceptions."""

    permit: bool
    elements: Mapping[str, Any]
    below: tuple[Tree, ...] = ()

    def only_permits(self) -> bool:
        """Whether nothing in it denies."""
        return self.permit and all(tree.only_permits() for tree in self.below)


def _coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def _actor(reference: Json) -> Json:
    return {"role": {"coding": [_coding(PARTICIPATION_SYSTEM, "IRCP")]}, "reference": reference}


_APP = _actor({"identifier": {"system": CLIENT_SYSTEM, "value": "app"}})
_VALUES: dict[str, list[Any]] = {
    "actor": [
        *(_APP, _actor({"identifier": {"system": CLIENT_SYSTEM, "value": "other"}})),
        *(_actor({"reference": name}) for name in ("Group/g", "Practitioner/d")),
    ],
    "action": [{"coding": [_coding(CONSENT_ACTION_SYSTEM, code)]} for code in ("access", "correct")],
    "securityLabel": [
        *(_coding(ACT_CODE_SYSTEM, code) for code in ("SUD", "ETHUD", "HIV", "PSY")),
        *(_coding(CONFIDENTIALITY_SYSTEM, code) for code in ("N", "R")),
    ],
    "purpose": [_coding(ACT_REASON_SYSTEM, code) for code in ("TREAT", "PATRQT", "HRESCH", "BTG")],
    "class": [
        *(_coding(DATA_CATEGORY_SYSTEM, code) for code in ("laboratory", "hiv", "conditions")),
        *(_coding(RESOURCE_TYPES_SYSTEM, code) for code in ("Observation", "Condition")),
    ],
    "code": [{"coding": [_coding("http://loinc.org", code)]} for code in ("75622-1", "2339-0")],
    "data": [
        {"meaning": meaning, "reference": {"reference": reference}}
        for meaning, reference in (
            *(("instance", "Observation/o1"), ("related", "Encounter/e"), ("dependents", "Encounter/e")),
            ("authoredby", "Practitioner/d"),
        )
    ],
}
_PERIODS = [{"start": "2025"}, {"end": "2026-06-15"}, {"end": "2025-12-31"}, {"start": "2026-01", "end": "2026-12"}]
_LISTS = {name: st.lists(st.sampled_from(values), min_size=1, max_size=3) for name, values in _VALUES.items()}
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    **_LISTS,
    "period": st.sampled_from(_PERIODS),
    "dataPeriod": st.sampled_from(_PERIODS),
}
_some_elements = st.lists(st.sampled_from(sorted(ELEMENTS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: ELEMENTS[name] for name in names})
)


def trees(depth: int = 2, *, permit: bool | None = None, alternating: bool = False) -> st.SearchStrategy[Tree]:
    """Trees of provisions; `alternating`: as R5 needs them."""
    polarity = st.booleans() if permit is None else st.just(permit)

    def with_polarity(this: bool) -> st.SearchStrategy[Tree]:
        below: st.SearchStrategy[tuple[Tree, ...]] = st.just(())
        if depth:
            nested = trees(depth - 1, permit=(not this) if alternating else None, alternating=alternating)
            below = st.lists(nested, max_size=2).map(tuple)
        return st.builds(Tree, st.just(this), _some_elements, below)

    return polarity.flatmap(with_polarity)


def places(tree: Tree) -> Iterator[tuple[int, ...]]:
    """Where its provisions stand: () is the root, (0, 1) the second exception of the first."""
    yield ()
    for i, nested in enumerate(tree.below):
        yield from ((i, *place) for place in places(nested))


def at(tree: Tree, place: tuple[int, ...]) -> Tree:
    """The provision at a place."""
    return at(tree.below[place[0]], place[1:]) if place else tree


def put(tree: Tree, place: tuple[int, ...], new: Tree | None) -> Tree:
    """The tree with another provision at a place, or with none."""
    i, rest = place[0], place[1:]
    changed = put(tree.below[i], rest, new) if rest else new
    kept = () if changed is None else (changed,)
    return replace(tree, below=(*tree.below[:i], *kept, *tree.below[i + 1 :]))


def r4(tree: Tree, **more: Any) -> Json:
    """The consent as FHIR R4 writes it; a copy, which may be changed."""
    return {
        "resourceType": "Consent",
        "id": "c",
        "meta": {"versionId": "1"},
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "provision": deepcopy(_r4_provision(tree)),
        **more,
    }


def _r4_provision(tree: Tree) -> Json:
    below = [_r4_provision(nested) for nested in tree.below]
    found = {"type": "permit" if tree.permit else "deny", **tree.elements}
    return {**found, "provision": below} if below else found


def r5(tree: Tree) -> Json:
    """The consent as FHIR R5 writes it, a copy. The root may have period and actors only; polarities must alternate."""
    found: Json = {
        "resourceType": "Consent",
        "id": "c",
        "meta": {"versionId": "1"},
        "status": "active",
        "subject": {"reference": "Patient/p1"},
        "decision": "permit" if tree.permit else "deny",
    }
    if "actor" in tree.elements:
        found["grantee"] = [actor["reference"] for actor in tree.elements["actor"]]
    if "period" in tree.elements:
        found["period"] = tree.elements["period"]
    below = [_r5_provision(nested) for nested in tree.below]
    return deepcopy({**found, "provision": below} if below else found)


def _r5_provision(tree: Tree) -> Json:
    elements = {"resourceType" if name == "class" else name: value for name, value in tree.elements.items()}
    below = [_r5_provision(nested) for nested in tree.below]
    found: Json = {"id": "x", **elements}
    return {**found, "provision": below} if below else found


circumstances = st.builds(
    Circumstances,
    patient=st.just("p1"),
    grantees=st.sampled_from([frozenset({grantee_of("app")}), frozenset({grantee_of("app"), "Practitioner/d"})]),
    purpose=st.sampled_from(["PATRQT", "FAMRQT", "TREAT", "ETREAT", "HRESCH", "BTG"]),
    now=st.sampled_from([datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 6, 15, 12, tzinfo=UTC)]),
    users=st.sampled_from([frozenset[str](), frozenset({"Practitioner/d"})]),
    memberships=st.sampled_from(
        [None, Memberships({}), Memberships({grantee_of("app"): frozenset({"Group/g"})})],
    ),
    links=st.sampled_from([None, {"Encounter/e": frozenset[str]()}, {"Encounter/e": frozenset({"Observation/o1"})}]),
)
facts: st.SearchStrategy[ResourceFacts] = st.fixed_dictionaries(
    {"type": st.sampled_from(["Observation", "Condition"])},
    optional={
        "category": st.sampled_from(["laboratory", "vital-signs"]),
        "labels": st.lists(st.sampled_from(["SUD", "ETHUD", "HIV", "PSY", "MH"]), max_size=2),
        "confidentiality": st.sampled_from(["L", "N", "R", "V"]),
        "codes": st.sampled_from([["http://loinc.org|75622-1"], ["|2339-0"], ["http://loinc.org|2339-0"]]),
        "date": st.sampled_from(["2024", "2025-12-31", "2026-06-15", "2025/2026"]),
        "references": st.just(["Encounter/e"]),
        "authors": st.sampled_from([["Practitioner/d"], ["Practitioner/e"]]),
    },
).map(case_facts)
