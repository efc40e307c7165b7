"""`authorization_details` as text: one element of one type, with nothing in it that isn't known (RFC 9396 §5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from smart.consent_details import TYPE, AskedDetails, InvalidDetails, read_details

CATALOGUE = load_catalogue()
BASE = "https://records.example/fhir"


def read(text: str) -> AskedDetails:
    return read_details(text, catalogue=CATALOGUE, audience=BASE)


def element(**more: Any) -> str:
    return json.dumps([{"type": TYPE, **more}])


def test_everything_that_the_type_has_is_read() -> None:
    found = read(element(locations=[BASE + "/"], categories=["hiv", "laboratory"], purpose="HRESCH", duration="month"))
    assert found == AskedDetails(frozenset({"hiv", "laboratory"}), "HRESCH", CATALOGUE.durations["month"])


def test_the_type_alone_asks_for_nothing_in_particular() -> None:
    assert read(element()) == AskedDetails(None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "null",
        "{}",
        "[]",
        "[[]]",
        '["urn:assent:consent"]',
        json.dumps({"type": TYPE}),
        json.dumps(element()),
        json.dumps([{"type": TYPE}, {"type": TYPE}]),
        json.dumps([{"type": TYPE}, {"type": "payment_initiation"}]),
        "[{}]",
        '[{"type": null}]',
        '[{"type": ["urn:assent:consent"]}]',
        '[{"type": "payment_initiation"}]',
        '[{"type": "URN:ASSENT:CONSENT"}]',
        '[{"type": "urn:assent:consent", "type": "urn:assent:consent"}]',
        '[{"type": "urn:assent:consent", "categories": ["laboratory"], "categories": ["conditions"]}]',
        '[{"type": "urn:assent:consent"}] x',
        '[{"type": "urn:assent:consent", "duration": NaN}]',
        "[" * 2_000 + "]" * 2_000,
        '[{"type": "urn:assent:consent", "duration": ' + "9" * 4_000 + "}]",
        json.dumps([{"type": TYPE}]) + " " * 4_096,
    ],
)
def test_what_isnt_one_element_of_the_type_is_refused(text: str) -> None:
    with pytest.raises(InvalidDetails):
        read(text)


@pytest.mark.parametrize(
    "more",
    [
        {"actions": ["read"]},
        {"datatypes": ["laboratory"]},
        {"identifier": "ana"},
        {"privileges": ["admin"]},
        {"Categories": ["laboratory"]},
        {"until": "2030-01-01"},
        {"locations": []},
        {"locations": BASE},
        {"locations": ["https://elsewhere.example/fhir"]},
        {"locations": [BASE, "https://elsewhere.example/fhir"]},
        {"locations": [BASE, BASE]},
        {"locations": [5]},
        {"locations": None},
        {"categories": []},
        {"categories": None},
        {"categories": "laboratory"},
        {"categories": {"laboratory": True}},
        {"categories": [["laboratory"]]},
        {"categories": ["laboratory", 5]},
        {"categories": ["laboratory", "laboratory"]},
        {"categories": ["laboratory", "bogus"]},
        {"categories": ["Laboratory"]},
        {"categories": ["\ud800"]},
        {"categories": ["directory"]},
        {"categories": ["*"]},
        {"purpose": ""},
        {"purpose": None},
        {"purpose": ["HRESCH"]},
        {"duration": "P1M"},
        {"duration": 720},
        {"duration": None},
        {"duration": ["month"]},
        {"duration": ""},
        {"duration": "keep"},
    ],
)
def test_a_member_or_value_that_isnt_known_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidDetails):
        read(element(**more))


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    with pytest.raises(InvalidDetails) as refused:
        read(element(secret="<script>"))  # noqa: S106
    assert "script" not in str(refused.value)
