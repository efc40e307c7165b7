"""L46 under a mask that shows elements in part (docs/masks.md, `limited`): what a writer changes, and what stays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.proxy.resource_view import ResourceViews
from fhir.r4.definitions import load_definitions
from fhir.writes.merge import NotWritable
from policies.codes import DATA_ABSENT_REASON_URL

_CATALOGUE, _DEFINITIONS = load_catalogue(), load_definitions()
_VIEWS = ResourceViews(_CATALOGUE, _DEFINITIONS, Masks(_CATALOGUE, _DEFINITIONS), FactsReader(_DEFINITIONS, _CATALOGUE))
MASKED = {"extension": [{"url": DATA_ABSENT_REASON_URL, "valueCode": "masked"}]}
OLD: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "ana",
    "active": True,
    "name": [{"family": "Hidden"}],
    "gender": "female",
    "address": [{"state": "NH", "city": "Hidden", "country": "US"}, {"state": "MA", "city": "Hidden too"}],
    "managingOrganization": {"reference": "Organization/o", "display": "O", "identifier": {"value": "Hidden"}},
}
SEEN: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "ana",
    "active": True,
    "gender": "female",
    "address": [{"state": "NH", "country": "US"}, {"state": "MA"}],
    "managingOrganization": {"reference": "Organization/o", "display": "O"},
}


def _merged(changed: dict[str, Any], old: dict[str, Any] = OLD) -> dict[str, Any]:
    new = {name: value for name, value in (SEEN | changed).items() if value is not None}
    return _VIEWS.merged("HOPERAT", (msgspec.json.encode(old), msgspec.json.encode(SEEN)), new)


def test_the_mask_is_one_that_shows_addresses_in_part() -> None:
    assert _CATALOGUE.mask("HOPERAT", "Patient") is not None
    assert "address.state" in (_CATALOGUE.mask("HOPERAT", "Patient") or ())


def test_what_is_left_alone_stays_whole() -> None:
    assert _merged({}) == OLD


@pytest.mark.leak("L46")
@pytest.mark.parametrize(
    ("address", "cities"),
    [
        ([{"state": "VT", "country": "US"}, {"state": "MA"}], ["Hidden", "Hidden too"]),
        ([{"state": "MA"}, {"state": "NH", "country": "US"}], ["Hidden too", "Hidden"]),
        ([{"state": "NH"}, {"state": "MA", "country": "US"}], ["Hidden", "Hidden too"]),
        ([{"state": "NH", "country": "US"}, {"state": "MA"}, {"state": "NY"}], ["Hidden", "Hidden too", None]),
    ],
)
def test_l46_hidden_parts_go_with_the_item_that_they_belong_to(
    address: list[dict[str, str]], cities: list[str | None]
) -> None:
    found = _merged({"address": address})
    assert [item.get("city") for item in found["address"]] == cities
    assert [{n: v for n, v in item.items() if n != "city"} for item in found["address"]] == address
    assert found["name"] == OLD["name"]


@pytest.mark.leak("L46")
@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {"address": None},
        {"address": [{"state": "NH", "country": "US"}]},
        {"address": [{"state": "MA"}]},
        {"address": [{"state": "NH", "country": "US", "city": "x"}, {"state": "MA"}]},
        {"address": {"state": "NH"}},
        {"name": [{"family": "x"}]},
        {"contained": [{"resourceType": "Organization", "id": "x"}]},
        {"managingOrganization": {"reference": "Organization/o", "identifier": {"value": "x"}}},
    ],
)
def test_l46_a_refusal_hangs_on_the_mask_and_not_on_what_is_hidden(changed: dict[str, Any], hidden: bool) -> None:
    with pytest.raises(NotWritable):
        _merged(changed, OLD if hidden else SEEN)


@pytest.mark.leak("L46")
def test_l46_another_target_is_another_reference() -> None:
    changed = {"managingOrganization": {"reference": "Organization/p"}}
    assert _merged(changed)["managingOrganization"] == {"reference": "Organization/p"}


@pytest.mark.leak("L46")
def test_l46_what_stands_beside_a_target_stays_with_it() -> None:
    kept = _merged({"managingOrganization": {"reference": "Organization/o"}})["managingOrganization"]
    assert kept == {"reference": "Organization/o", "identifier": {"value": "Hidden"}}


@pytest.mark.leak("L46")
@pytest.mark.parametrize("changed", [None, {"reference": "Organization/p"}])
def test_l46_what_is_shown_as_masked_is_neither_taken_away_nor_replaced(changed: dict[str, str] | None) -> None:
    elsewhere = OLD | {"managingOrganization": {"reference": "http://elsewhere.example/Organization/x"}}
    seen = SEEN | {"managingOrganization": MASKED}
    new = {name: value for name, value in (seen | {"managingOrganization": changed}).items() if value is not None}
    forms = (msgspec.json.encode(elsewhere), msgspec.json.encode(seen))
    with pytest.raises(NotWritable):
        _VIEWS.merged("HOPERAT", forms, new)
    assert _VIEWS.merged("HOPERAT", forms, seen) == elsewhere


RACE: dict[str, Any] = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"}
SHOWN_RACE: dict[str, Any] = RACE | {"extension": [{"url": "text", "valueString": "White"}]}
WHOLE_RACE: dict[str, Any] = RACE | {
    "extension": [{"url": "text", "valueString": "White"}, {"url": "http://x", "valueHumanName": {"text": "Hidden"}}]
}
HIDDEN_EXTENSION: dict[str, Any] = {"url": "http://x/hidden", "valueString": "Hidden"}


def _with_extensions(new: list[dict[str, Any]] | None) -> dict[str, Any]:
    old = OLD | {"extension": [HIDDEN_EXTENSION, WHOLE_RACE]}
    seen = SEEN | {"extension": [SHOWN_RACE]}
    sent = SEEN | ({} if new is None else {"extension": new})
    return _VIEWS.merged("HOPERAT", (msgspec.json.encode(old), msgspec.json.encode(seen)), sent)


@pytest.mark.leak("L46")
@pytest.mark.parametrize("added", [[], [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex"}]])
def test_an_extension_that_is_seen_in_part_stays_whole_beside_new_ones(added: list[dict[str, Any]]) -> None:
    assert _with_extensions([*added, SHOWN_RACE])["extension"] == [HIDDEN_EXTENSION, *added, WHOLE_RACE]


@pytest.mark.leak("L46")
@pytest.mark.parametrize(
    "new",
    [
        None,
        [],
        [RACE],
        [RACE | {"extension": [{"url": "text", "valueString": "Other"}]}],
        [RACE | {"extension": [{"url": "text", "valueString": "Other"}]}, RACE | {"valueString": "x"}],
        [SHOWN_RACE, HIDDEN_EXTENSION],
    ],
)
def test_an_extension_that_is_seen_in_part_is_neither_changed_nor_removed(new: list[dict[str, Any]] | None) -> None:
    with pytest.raises(NotWritable):
        _with_extensions(new)
