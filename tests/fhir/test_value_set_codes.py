"""Codes are read from value sets that list them; from any other, none rather than some."""

from __future__ import annotations

from typing import Any

import pytest

from fhir.r4.value_set_codes import NotListed, value_set_codes

SNOMED = "http://snomed.info/sct"


def _expanded(*contains: object, **more: object) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "expansion": {"contains": list(contains)} | more}


def _composed(*include: object, **more: object) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "compose": {"include": list(include)} | more}


def test_an_expansion_is_read_at_every_depth_without_what_only_groups() -> None:
    inner = {
        "system": SNOMED,
        "code": "86406008",
        "contains": [{"system": "urn:oid:2.16.840.1.113883.6.1", "code": "a"}],
    }
    group = {
        "abstract": True,
        "system": SNOMED,
        "code": "1",
        "contains": [inner, {"system": SNOMED, "code": "86406008"}],
    }
    assert value_set_codes(_expanded(group, total=4)) == {SNOMED: ("86406008",), "http://loinc.org": ("a",)}


def test_an_expansion_goes_before_the_definition() -> None:
    value_set = _expanded({"system": SNOMED, "code": "1"}) | _composed({"system": SNOMED, "filter": []})
    assert value_set_codes(value_set) == {SNOMED: ("1",)}


def test_a_list_of_codes_is_read() -> None:
    value_set = _composed({"system": SNOMED, "concept": [{"code": "2", "display": "x"}, {"code": "1"}]})
    assert value_set_codes(value_set) == {SNOMED: ("1", "2")}


@pytest.mark.parametrize(
    ("value_set", "error"),
    [
        ([], "it is no ValueSet"),
        ({"resourceType": "CodeSystem"}, "it is no ValueSet"),
        ({"resourceType": "ValueSet"}, "it has neither an expansion nor a list of codes"),
        (_composed({"system": SNOMED}), "it is defined by rules and has no expansion"),
        (_composed({"system": SNOMED, "filter": [{}]}), "it is defined by rules and has no expansion"),
        (_composed({"valueSet": ["urn:x"], "concept": [{"code": "1"}]}), "it is defined by rules and has no expansion"),
        (
            _composed({"system": SNOMED, "concept": [{"code": "1"}]}, exclude=[{"system": SNOMED}]),
            "it excludes codes and has no expansion",
        ),
        (_composed(), "it holds no codes"),
        (_expanded(), "it holds no codes"),
        (_expanded({"code": "1"}), "a code or its system is missing"),
        (_expanded({"system": SNOMED, "code": " "}), "a code or its system is missing"),
        (_expanded({"system": SNOMED, "code": "1"}, total=2), "its expansion is a page: 1 of 2 entries"),
        (_expanded("x"), "it isn't shaped as FHIR JSON"),
        (_composed({"system": SNOMED, "concept": {"code": "1"}}), "it isn't shaped as FHIR JSON"),
    ],
)
def test_a_value_set_that_does_not_list_its_codes_is_refused(value_set: object, error: str) -> None:
    with pytest.raises(NotListed) as caught:
        value_set_codes(value_set)
    assert str(caught.value) == error
