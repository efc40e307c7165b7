"""The masks that come with Assent keep what docs/masks.md says, by the types that R4 gives to the elements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from assent.catalogue_page import catalogue_page
from assent.policy_files import load_catalogue
from fhir.minimization.mask_plan import MaskCompiler
from fhir.minimization.minimize import MinimizeRules, NotMinimizable, minimize
from fhir.r4.definitions import json_members, load_definitions

DEFINITIONS = load_definitions()
CATALOGUE = load_catalogue()
ALWAYS = {scope.resource_type for c in CATALOGUE.categories.values() if c.always for scope in c.scopes}
PERSONAL = {"HumanName", "ContactPoint", "Annotation", "Attachment", "Identifier", "Narrative"}
"""Names, contacts, free text, documents and identifiers."""


def _types_inside(resource_type: str, path: str, seen: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Every element below a path that is kept whole, with its type."""
    place = DEFINITIONS.locate(resource_type, path)
    if place in seen:
        return
    seen.add(place)
    for name, element in DEFINITIONS.children(*place).items():
        below = f"{place[1]}.{name}" if place[1] else name
        for _, kind in json_members(name, element):
            yield f"{place[0]}.{below}", kind
            if kind in ("BackboneElement", "Element"):
                yield from _types_inside(place[0], below, seen)
            elif kind not in DEFINITIONS.primitives and kind not in {"Extension", "Reference", *PERSONAL}:
                yield from _types_inside(kind, "", seen)


@pytest.mark.parametrize("resource_type", sorted(set(CATALOGUE.masks["limited"]) - ALWAYS))
def test_the_limited_mask_keeps_no_personal_element_about_a_patient(resource_type: str) -> None:
    for path in CATALOGUE.masks["limited"][resource_type]:
        parent, _, name = path.rpartition(".")
        element = DEFINITIONS.children(resource_type, parent)[name]
        kept = [(path, kind) for _, kind in json_members(name, element)]
        for _, kind in list(kept):
            if kind in ("BackboneElement", "Element"):
                kept += _types_inside(resource_type, path, set())
            elif kind not in DEFINITIONS.primitives and kind not in {"Extension", "Reference", *PERSONAL}:
                kept += _types_inside(kind, "", set())
        assert [(place, kind) for place, kind in kept if kind in PERSONAL] == []


def test_what_the_limited_mask_keeps_the_full_one_keeps_too() -> None:
    full = CATALOGUE.masks["full"]
    for resource_type, paths in CATALOGUE.masks["limited"].items():
        assert {
            p for p in paths if p not in full[resource_type] and p.split(".")[0] not in full[resource_type]
        } == set()


def test_an_element_kept_in_part_that_something_modifies_is_withheld_with_its_resource() -> None:
    node = MaskCompiler(DEFINITIONS).compile("AllergyIntolerance", CATALOGUE.masks["limited"]["AllergyIntolerance"])
    rules = MinimizeRules(lambda _: None, frozenset(), frozenset(), lambda literal: str(literal))
    reaction = {"manifestation": [{"text": "hives"}], "note": [{"text": "told by her aunt"}]}
    allergy = {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/p1"}, "reaction": [reaction]}
    kept = json.loads(minimize(msgspec.json.encode(allergy), node, rules))
    assert kept["reaction"] == [{"manifestation": [{"text": "hives"}]}]
    reaction["modifierExtension"] = [{"text": "not"}]
    with pytest.raises(NotMinimizable):
        minimize(msgspec.json.encode(allergy), node, rules)


def test_an_element_of_which_nothing_is_left_says_so() -> None:
    """FHIR R4 JSON has no empty objects."""
    node = MaskCompiler(DEFINITIONS).compile("Patient", CATALOGUE.masks["limited"]["Patient"])
    rules = MinimizeRules(lambda _: None, frozenset(), frozenset(), lambda literal: str(literal))
    patient = {"resourceType": "Patient", "address": [{"city": "Springfield"}, {"city": "Salem", "state": "OR"}]}
    (gone, kept) = json.loads(minimize(msgspec.json.encode(patient), node, rules))["address"]
    assert gone["extension"][0]["valueCode"] == "masked"
    assert kept == {"state": "OR"}


def test_the_catalogues_page_is_up_to_date() -> None:
    """`assent policy docs > docs/catalogue.md`."""
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    assert page.read_text(encoding="utf-8") == catalogue_page(CATALOGUE)
