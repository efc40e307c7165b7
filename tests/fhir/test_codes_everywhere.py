"""A sensitive code is recognised wherever in a resource R4 lets it stand, or the element in which it stands is masked.

The places come from the definitions: every element of every type that a category holds, whatever is added to R4's
definitions or to the catalogue. Left out are elements of the type `code`, whose values FHIR itself lists (a status,
a gender, a unit of time), and `uri`, which names things and codes nothing, but in extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.minimization.members import MemberReader
from fhir.minimization.minimize import MinimizeRules, NotMinimizable, minimize
from fhir.r4.definitions import json_members, load_definitions
from policies.classify import classify

CATALOGUE = load_catalogue()
DEFINITIONS = load_definitions()
FACTS = FactsReader(DEFINITIONS, CATALOGUE)
READER = MemberReader(FACTS)
MASKS = Masks(CATALOGUE, DEFINITIONS)

_HIV: Final = "86406008"
_SNOMED: Final = "http://snomed.info/sct"
_CODED: Final[dict[str, Any]] = {
    "Coding": {"system": _SNOMED, "code": _HIV},
    "CodeableConcept": {"coding": [{"system": _SNOMED, "code": _HIV}]},
    "Quantity": {"value": 1, "system": _SNOMED, "code": _HIV},
    "Identifier": {"system": _SNOMED, "value": _HIV},
    "Reference": {"identifier": {"system": _SNOMED, "value": _HIV}},
}
_EXTENSIONS: Final[list[dict[str, Any]]] = [
    *({"url": "urn:example", f"value{kind}": value} for kind, value in _CODED.items()),
    {"url": "urn:example", "valueCode": _HIV},
    {"url": "urn:example", "valueString": _HIV},
    {"url": "urn:example", "valueUri": f"http://snomed.info/id/{_HIV}"},
    {"url": "urn:example", "extension": [{"url": "system", "valueUri": _SNOMED}, {"url": "code", "valueCode": _HIV}]},
]
_LEAVES: Final = frozenset({"Extension", "Resource", "Narrative", "Meta"})
"""What stands in extensions comes by the elements that hold them; the others have tests of their own (tests/leaks)."""

_Trail = list[tuple[str, bool]]
"""The JSON members on the way from the resource down, each with whether it is a list."""


def _places(
    type_name: str, path: str, above: _Trail, within: frozenset[tuple[str, str]]
) -> Iterator[tuple[_Trail, str]]:
    """Every element below a place, with its type; an element within itself (`item.item`) once."""
    for name, element in DEFINITIONS.children(type_name, path).items():
        for member, kind in json_members(name, element):
            here = [*above, (member, element.max != "1")]
            yield here, kind
            if kind in DEFINITIONS.primitives or kind in _LEAVES:
                continue
            below = (kind, "")
            if kind in ("BackboneElement", "Element"):
                below = DEFINITIONS.locate(type_name, f"{path}.{name}" if path else name)
            if below not in within:
                yield from _places(*below, here, within | {below})


def _at(trail: _Trail, value: Any) -> dict[str, Any]:
    for member, many in reversed(trail):
        value = {member: [value] if many else value}
    return value  # type: ignore[no-any-return]


def _coded_resources(resource_type: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The resource with the code at one place after the other; what stands where."""
    for trail, kind in _places(resource_type, "", [], frozenset()):
        place = ".".join(member for member, _ in trail)
        if kind in _CODED:
            yield place, _at(trail, _CODED[kind])
        if kind == "Extension":
            yield from ((f"{place} {list(e)[1]}", _at(trail, e)) for e in _EXTENSIONS)
        elif kind in DEFINITIONS.primitives and kind != "xhtml":
            *above, (member, many) = trail
            beside = [*above, ("_" + member, many)]
            yield from ((f"{place} _{list(e)[1]}", _at(beside, {"extension": [e]})) for e in _EXTENSIONS)


def _is_shown(resource: dict[str, Any]) -> bool:
    """Whether the code reaches somebody to whom no sensitive category is open, for whatever purpose."""
    facts, members = READER.read(msgspec.json.encode(resource))
    if facts.foreign or "hiv" in classify(facts, CATALOGUE).sensitive:
        return False
    for purpose in ("PATRQT", "HRESCH"):
        rules = MinimizeRules(
            lambda kind, purpose=purpose: MASKS.node(purpose, kind),  # type: ignore[misc]
            CATALOGUE.contained,
            CATALOGUE.named_references,
            FACTS.relative,
        )
        node = MASKS.node(purpose, resource["resourceType"])
        try:
            if node is not None and _HIV.encode() in minimize(members, node, rules):
                return True
        except NotMinimizable:
            pass
    return False


@pytest.mark.parametrize("resource_type", sorted(CATALOGUE.scopes_by_type))
def test_a_sensitive_code_is_recognised_or_masked_wherever_it_stands(resource_type: str) -> None:
    coded = [
        (place, {"resourceType": resource_type, "id": "r1"} | held) for place, held in _coded_resources(resource_type)
    ]
    assert len(coded) > 200
    assert [place for place, resource in coded if _is_shown(resource)] == []


def test_the_table_would_find_a_place_where_it_is_shown() -> None:
    """A date in the place of the code is neither recognised nor masked."""
    resource = {"resourceType": "Condition", "id": "r1", "code": {"text": "as noted"}, "recordedDate": _HIV}
    assert _is_shown(resource)
