"""The scope language and its intersection: never more than was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent.policy_files import load_catalogue
from policies.model import Scope
from smart.scope_intersection import granted_scopes, granted_with_writes, intersection
from smart.scope_syntax import format_scope, parse_scope, split_scope

CATALOGUE = load_catalogue()
KNOWN = [c for c in CATALOGUE.categories.values() if c.scopes]
LABS = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patient/Observation.rs", Scope("patient", "Observation", "rs")),
        ("patient/Observation.read", Scope("patient", "Observation", "rs")),
        ("patient/Observation.write", Scope("patient", "Observation", "cud")),
        ("user/*.*", Scope("user", "*", "cruds")),
        ("system/*.cruds", Scope("system", "*", "cruds")),
        (f"patient/Observation.rs?category={LABS}", Scope("patient", "Observation", "rs", (("category", LABS),))),
        ("patient/Observation.rs?category=a%7Cb", Scope("patient", "Observation", "rs", (("category", "a|b"),))),
    ],
)
@pytest.mark.smart(128, 369, 370)
def test_a_scope_is_read_as_the_specification_says(text: str, expected: Scope) -> None:
    assert parse_scope(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "patient", "patient/", "patient/Observation", "patient/Observation.", "patient/Observation.sr"),
        *("patient/Observation.rr", "patient/observation.rs", "patient/Observation.rs?", "patient/Observation.rs?x"),
        *("patient/Observation.read?category=x", "Patient/Observation.rs", "practitioner/Observation.rs"),
        *("patient/Observation.rsx", "patient/../Observation.rs", "patient/Observation.rs\n", "patient/**.rs"),
        *("patient/Observation.rs?_has:x=1", "patient/Öbservation.rs", "patient/Observation.rs#x"),
    ],
)
@pytest.mark.smart(129)
def test_what_the_grammar_does_not_allow_is_no_scope(text: str) -> None:
    assert parse_scope(text) is None


def test_splitting_drops_duplicates_and_names_what_is_unknown() -> None:
    session, clinical, unknown = split_scope("openid openid launch/patient patient/Goal.rs patient/Goal.read bogus")
    assert session == ("openid", "launch/patient")
    assert clinical == (Scope("patient", "Goal", "rs"),)
    assert unknown == ("bogus",)


_types = st.sampled_from(["*", "Observation", "Condition", "Patient", "DiagnosticReport"])
_letters = st.sampled_from(["r", "s", "rs", "cruds", "cud"])
_parameters = st.sampled_from([(), (("category", LABS),), (("category", "x|y"),), (("code", "a|b"),)])
_scopes = st.builds(Scope, st.sampled_from(["patient", "user"]), _types, _letters, _parameters)


@given(_scopes)
def test_formatting_and_reading_agree(scope: Scope) -> None:
    assert parse_scope(format_scope(scope)) == scope


def _within(part: Scope, whole: Scope) -> bool:
    return (
        part.context == whole.context
        and whole.resource_type in ("*", part.resource_type)
        and set(part.permissions) <= set(whole.permissions)
        and all(
            any(n == name and set(v.split(",")) <= set(value.split(",")) for n, v in part.parameters)
            for name, value in whole.parameters
        )
    )


@given(st.lists(_scopes, max_size=3), st.sets(st.sampled_from([c.code for c in KNOWN])))
def test_granted_scopes_lie_within_asked_ones(asked: list[Scope], granted: set[str]) -> None:
    left = granted_scopes(asked, [c for c in KNOWN if c.code in granted], KNOWN)
    assert all(any(_within(part, whole) for whole in asked) for part in left)
    if not granted:
        assert left == ()


@given(_scopes, _scopes)
def test_an_intersection_lies_within_what_was_asked(asked: Scope, line: Scope) -> None:
    part = intersection(asked, line)
    if part is not None:
        assert _within(part, asked)


def test_everything_granted_gives_the_asked_scope_whole() -> None:
    asked = [Scope("patient", "*", "rs"), Scope("patient", "Observation", "r")]
    assert granted_scopes(asked, KNOWN, KNOWN) == tuple(asked)


def test_a_part_isnt_named_beside_its_whole() -> None:
    """As where somebody denied one part of what is open: the whole line is open, and one of its parts isn't."""
    opened = [c for c in KNOWN if c.code in ("conditions", "visit-diagnoses")]
    assert granted_scopes([Scope("patient", "*", "rs")], opened, KNOWN) == (Scope("patient", "Condition", "rs"),)
    everything = dict.fromkeys(("rs", "c", "ud"), opened)
    asked = [Scope("patient", "Condition", "cruds")]
    assert granted_with_writes(asked, everything, KNOWN) == tuple(asked)


def test_parts_are_granted_with_the_letters_that_each_was_given() -> None:
    (part,) = (c for c in KNOWN if c.code == "visit-diagnoses")
    granted = {"rs": [c for c in KNOWN if c.part_of == "conditions"], "c": [part], "ud": []}
    left = granted_with_writes([Scope("patient", "Condition", "cruds")], granted, KNOWN)
    assert [(scope.permissions, scope.parameters[0][1].rpartition("|")[2]) for scope in left] == [
        ("rs", "problem-list-item"),
        ("rs", "health-concern"),
        ("crs", "encounter-diagnosis"),
    ]


@pytest.mark.smart(79)
def test_a_part_granted_gives_granular_scopes() -> None:
    labs = [c for c in KNOWN if c.code == "laboratory"]
    left = [format_scope(s) for s in granted_scopes([Scope("patient", "Observation", "rs")], labs, KNOWN)]
    assert left == [f"patient/Observation.rs?category={LABS}"]
