"""What a request asks for, within what its app is registered for: never more than either."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.authorize.asked_scopes import scope_within_registration
from authz.clients.clients import Client
from authz.oauth_errors import OAuthError
from policies.model import Scope
from smart.scope_intersection import intersection
from smart.scope_syntax import format_scopes, split_scope


def _client(scope: str) -> Client:
    return Client("app", "App", "public", None, None, (), scope, ("PATRQT",), disabled=False)


def _granted(asked: str, registered: str) -> str:
    try:
        return scope_within_registration(_client(registered), {"scope": asked})
    except OAuthError:
        return ""


@pytest.mark.parametrize(
    ("asked", "registered", "granted"),
    [
        ("patient/*.rs", "patient/Observation.rs patient/Condition.rs", "patient/Observation.rs patient/Condition.rs"),
        ("patient/Observation.rs", "patient/*.rs", "patient/Observation.rs"),
        ("patient/*.cruds", "patient/*.rs", "patient/*.rs"),
        ("patient/*.rs", "patient/Observation.r patient/*.cruds", "patient/*.rs"),
        ("patient/*.rs", "patient/Observation.r patient/Condition.cud", "patient/Observation.r"),
        (
            "patient/*.read",
            "patient/Observation.rs patient/Condition.*",
            "patient/Observation.read patient/Condition.read",
        ),
        ("patient/*.*", "patient/*.read", "patient/*.read"),
        ("patient/*.*", "patient/Observation.r", "patient/Observation.r"),
        ("patient/*.cruds", "patient/*.read", "patient/*.rs"),
        ("patient/*.read", "patient/Observation.rs?code=a|b", "patient/Observation.rs?code=a|b"),
        ("patient/Observation.rs", "patient/Observation.rs?category=a|b", "patient/Observation.rs?category=a|b"),
        ("patient/Observation.rs?category=a|b", "patient/*.rs", "patient/Observation.rs?category=a|b"),
        (
            "patient/Observation.rs?code=x|y",
            "patient/*.rs?category=a|b",
            "patient/Observation.rs?code=x|y&category=a|b",
        ),
        (
            "patient/Observation.rs?category=a|b,a|c",
            "patient/*.rs?category=a|c,a|d",
            "patient/Observation.rs?category=a|c",
        ),
        ("patient/Observation.rs?category=a|b", "patient/Observation.rs?category=a|c", ""),
        ("user/*.rs", "patient/*.rs", ""),
        ("patient/*.rs", "user/Observation.rs", ""),
        ("system/*.rs", "system/*.rs", ""),
        ("patient/*.rs", "launch/patient", ""),
        ("openid launch/patient patient/*.rs", "openid patient/Goal.rs", "openid patient/Goal.rs"),
        ("patient/*.cruds", "patient/Basic.cruds patient/Goal.rs", "patient/Goal.rs"),
        ("patient/Basic.cruds patient/Goal.rs", "patient/*.cruds", "patient/Basic.cruds patient/Goal.rs"),
        ("patient/*.rs patient/Goal.rs", "patient/Goal.rs", "patient/Goal.rs"),
    ],
)
def test_a_request_gets_what_it_has_in_common_with_the_registration(asked: str, registered: str, granted: str) -> None:
    assert _granted(asked, registered) == granted


def test_an_app_registered_for_no_scope_in_particular_may_ask_for_any() -> None:
    assert _granted("openid patient/*.read patient/Goal.rs?x=1", "") == "openid patient/*.read patient/Goal.rs?x=1"


def test_granular_scopes_on_both_sides_dont_multiply_without_end() -> None:
    asked = " ".join(f"patient/Observation.rs?code=x|{n}" for n in range(200))
    registered = " ".join(f"patient/Observation.rs?category=x|{n}" for n in range(90))
    assert len(_granted(asked, registered).split(" ")) == 1_000


_types = st.sampled_from(["*", "Observation", "Condition"])
_letters = st.sampled_from(["r", "s", "rs", "cruds", "cud"])
_parameters = st.lists(
    st.tuples(st.sampled_from(["category", "code"]), st.sampled_from(["a|1", "a|2", "a|1,a|2", "a|2,a|3"])), max_size=3
).map(tuple)
_scopes = st.builds(Scope, st.sampled_from(["patient", "user"]), _types, _letters, _parameters)
_resources = st.tuples(
    st.sampled_from(["patient", "user"]),
    st.sampled_from(["Observation", "Condition", "Goal"]),
    st.sampled_from("cruds"),
    st.fixed_dictionaries(
        {name: st.frozensets(st.sampled_from(["a|1", "a|2", "a|3"])) for name in ("category", "code")}
    ),
)
_Resource = tuple[str, str, str, dict[str, frozenset[str]]]


def _opens(scopes: list[Scope], resource: _Resource) -> bool:
    """A second reading of what scopes mean: some scope has the type, the letter, and every one of its parameters."""
    context, resource_type, letter, tokens = resource
    return any(
        scope.context == context
        and scope.resource_type in ("*", resource_type)
        and letter in scope.permissions
        and all(tokens[name] & set(value.split(",")) for name, value in scope.parameters)
        for scope in scopes
    )


@given(st.lists(_scopes, max_size=3), st.lists(_scopes, min_size=1, max_size=3), _resources)
def test_what_is_granted_opens_never_more_than_was_asked_nor_than_is_registered(
    asked: list[Scope], registered: list[Scope], resource: _Resource
) -> None:
    _, granted, unknown = split_scope(_granted(format_scopes(asked), format_scopes(registered)))
    assert unknown == ()
    if _opens(list(granted), resource):
        assert _opens(asked, resource)
        assert _opens(registered, resource)


@given(
    st.lists(_scopes.map(lambda s: Scope(s.context, s.resource_type, s.permissions)), max_size=3),
    st.lists(_scopes, min_size=1, max_size=3),
    _resources,
)
def test_plain_scopes_get_all_that_is_registered_of_them(
    asked: list[Scope], registered: list[Scope], resource: _Resource
) -> None:
    _, granted, _ = split_scope(_granted(format_scopes(asked), format_scopes(registered)))
    assert _opens(list(granted), resource) == (_opens(asked, resource) and _opens(registered, resource))


@given(_scopes, _scopes, _resources)
def test_a_common_part_opens_never_more_than_both(first: Scope, second: Scope, resource: _Resource) -> None:
    part = intersection(first, second)
    if part is not None and _opens([part], resource):
        assert _opens([first], resource)
        assert second.context != first.context or _opens([second], resource)
