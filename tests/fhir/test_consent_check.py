"""What is handed in as a Consent, with some of its values replaced: looked over without an exception."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.consents.check import findings_in
from tests.authz.consent_recorder import category, consent, grantee

_TEXTS = ("", "x", "\x00", "é" * 300, "Patient/x", "9999-12-31", "0000-01-01", "2026-02-30", "2026-12-31T23:59:60Z")
_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, *_TEXTS),
    *([], {}, [[]], [{}], [None], [7], {"a": 1}, {"id": "x"}, {"coding": 7}, {"extension": []}),
    {"resourceType": "Nope"},
)
_WHOLE = consent(
    {
        "type": "permit",
        "period": {"start": "2026", "end": "2027"},
        "actor": grantee("x"),
        "action": [{"coding": [{"code": "access"}]}],
        "class": category("laboratory"),
        "data": [{"meaning": "instance", "reference": {"reference": "Observation/1"}}],
        "provision": [{"type": "deny", "dataPeriod": {"start": "2020"}}],
    },
    meta={"profile": ["urn:x"], "security": [{"system": "urn:x", "code": "R"}]},
    text={"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>a</div>"},
    contained=[{"resourceType": "Group", "id": "g", "type": "person", "actual": True}],
    extension=[{"url": "urn:x", "valuePeriod": {"start": "2026"}}],
    identifier=[{"system": "urn:x", "value": "1"}],
    sourceAttachment={"contentType": "a/b", "url": "https://desk.example/1"},
    verification=[{"verified": True, "verificationDate": "2026"}],
    _status={"extension": [{"url": "urn:x", "valueCode": "y"}]},
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _places(item, (*place, key))


def _with(content: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The content with a value at a place, if the place is still there."""
    changed = deepcopy(content)
    holder: Any = changed
    for key in place[:-1]:
        try:
            holder = holder[key]
        except (KeyError, IndexError, TypeError):
            return changed
    if isinstance(holder, dict | list) and place[-1] in (holder if isinstance(holder, dict) else range(len(holder))):
        holder[place[-1]] = deepcopy(value)
    return changed


_CHANGE = st.tuples(st.sampled_from([place for place in _places(_WHOLE) if place]), st.sampled_from(_ODD))


def test_the_whole_consent_may_be_kept() -> None:
    assert findings_in(_WHOLE).issues == ()


@pytest.mark.parametrize("value", _ODD, ids=repr)
def test_no_odd_value_anywhere_breaks_the_check(value: Any) -> None:
    for place in _places(_WHOLE):
        if place:
            findings_in(_with(_WHOLE, place, value))


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(_CHANGE, min_size=2, max_size=3))
def test_no_odd_values_together_break_the_check(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    content = _WHOLE
    for place, value in changes:
        content = _with(content, place, value)
    findings_in(content)
