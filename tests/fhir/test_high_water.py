"""A Bundle is as confidential as the most confidential thing that is sent in it, and says nothing of what isn't."""

from __future__ import annotations

import json

import pytest

from fhir.minimization.high_water import bundle_meta
from fhir.proxy.page import Page
from fhir.proxy.searchset import searchset
from fhir.proxy.shown import Shown
from policies.codes import CONFIDENTIALITY_SYSTEM
from policies.model import Coding, ResourceFacts

_OLD_NAME = "http://hl7.org/fhir/v3/Confidentiality"


def _labelled(code: str, system: str = CONFIDENTIALITY_SYSTEM) -> bytes:
    return json.dumps({"resourceType": "Condition", "meta": {"security": [{"system": system, "code": code}]}}).encode()


def _level(meta: bytes) -> str | None:
    found = json.loads(b"{" + meta[1:] + b"}")
    if not found:
        return None
    (label,) = found["meta"]["security"]
    assert label["system"] == CONFIDENTIALITY_SYSTEM
    return str(label["code"])


@pytest.mark.parametrize(
    ("bodies", "entries", "expected"),
    [
        ([], 3, None),
        ([], 0, None),
        ([_labelled("R")], 1, "R"),
        ([_labelled("R")], 2, "R"),
        ([_labelled("L")], 1, "L"),
        ([_labelled("L")], 2, "N"),
        ([_labelled("U"), _labelled("M")], 2, "M"),
        ([_labelled("N"), _labelled("V"), _labelled("R")], 9, "V"),
        ([_labelled("R", _OLD_NAME)], 1, "R"),
        ([_labelled("nonsense")], 1, "V"),
        ([b'{"meta":{"security":"R"}}'], 1, "V"),
        ([_labelled("HIV", "http://terminology.hl7.org/CodeSystem/v3-ActCode")], 1, None),
        ([b'{"meta":{"versionId":"1"}}'], 1, None),
        ([b'{"contained":[' + _labelled("R") + b"]}"], 1, "R"),
        ([b'{"securityLabel":[{"coding":[{"system":"' + _OLD_NAME.encode() + b'","code":"R"}]}]}'], 1, "R"),
    ],
)
def test_the_highest_level_that_is_sent_counts(bodies: list[bytes], entries: int, expected: str | None) -> None:
    meta = bundle_meta(bodies, entries)
    assert (_level(meta) if meta else None) == expected


def test_the_bundle_is_labelled_by_what_was_left_of_its_entries() -> None:
    facts = ResourceFacts("Condition", "c", labels=frozenset({Coding(CONFIDENTIALITY_SYSTEM, "V")}))
    masked = Shown(facts, _labelled("N"))  # what was contained, and very restricted, is gone
    bundle = json.loads(searchset(Page(matches=[masked], includes=[masked]), "https://assent.example/fhir", [], None))
    assert bundle["meta"] == {"security": [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}]}


def test_a_bundle_of_unlabelled_entries_has_no_label() -> None:
    page = Page(matches=[Shown(ResourceFacts("Condition", "c"), b"{}")])
    assert "meta" not in json.loads(searchset(page, "https://assent.example/fhir", [], None))
