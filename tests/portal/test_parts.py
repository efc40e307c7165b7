"""Parts of a kind of information on the pages: offered below it, taken, and told."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from portal.words import kept, titles
from tests.portal.fakes import ADA, CATALOGUE, REQUEST, SHARED, Place, page_of, place

ADDRESS = "/authorize/continue?request=req-1"
CHANGE = "/my/sharing/c1/change"
REST = "%(kind)s (the rest)"


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA)
    return found


async def _sent(here: Place, *categories: str) -> dict[str, object]:
    hidden = await here.fields(ADDRESS)
    return {**hidden, "category": list(categories), "duration": "month", "decision": "allow"}


async def test_parts_stand_below_their_whole_in_a_group_that_says_how_to_use_it(here: Place) -> None:
    response = await here.client.get(ADDRESS)
    (group,) = re.findall(r'<fieldset class="parts".*?</fieldset>', response.text, re.DOTALL)
    assert 'aria-describedby="parts-of-conditions"' in group
    assert "<legend>Or only a part of it</legend>" in group
    hint = page_of(response).texts["parts-of-conditions"]
    assert hint == "Untick “Conditions” first: while it is ticked, all of it is shared."
    assert re.findall(r'value="([a-z-]+)"', group) == ["problem-list", "health-concerns", "visit-diagnoses"]
    assert response.text.index('id="category-conditions"') < response.text.index(group)
    assert response.text.index(group) < response.text.index('id="category-laboratory"')


async def test_no_title_holds_another_so_that_labels_are_found_by_their_words() -> None:
    names = [category.title.casefold() for category in CATALOGUE.categories.values()]
    parts = [part.title.casefold() for part in CATALOGUE.parts_of("conditions")]
    assert len(set(names)) == len(names)
    assert [(a, b) for a in parts for b in names if a != b and (a in b or b in a)] == []


async def test_parts_alone_are_shared_alone(here: Place) -> None:
    response = await here.client.post("/authorize/decision", data=await _sent(here, "visit-diagnoses"))
    assert response.status_code == 303
    assert here.consents.granted[0].categories == ("visit-diagnoses",)


async def test_who_was_asked_for_a_part_is_offered_it_among_the_kinds_and_no_more(here: Place) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, asked=("visit-diagnoses", "laboratory"))
    response = await here.client.get(ADDRESS)
    assert page_of(response).named("checkbox") == {"Diagnoses at visits": True, "Lab results": True}
    assert 'class="parts"' not in response.text
    for beyond in ("conditions", "problem-list"):
        answer = await here.client.post("/authorize/decision", data=await _sent(here, "visit-diagnoses", beyond))
        assert answer.status_code == 400
    assert here.consents.granted == []


async def test_a_form_with_a_problem_keeps_the_parts_that_were_ticked(here: Place) -> None:
    sent = await _sent(here, "problem-list") | {"duration": "ever"}
    response = await here.client.post("/authorize/decision", data=sent)
    assert response.status_code == 400
    ticked = page_of(response).named("checkbox")
    assert (ticked["Problem list"], ticked["Conditions"]) == (True, False)


async def test_a_shared_part_can_be_widened_to_the_whole_that_was_asked_for(here: Place) -> None:
    here.consents.consents = [replace(SHARED, categories=("problem-list",), asked=("conditions",))]
    page = page_of(await here.client.get(CHANGE))
    expected = {"Conditions": False, "Problem list": True, "Health concerns": False, "Diagnoses at visits": False}
    assert page.named("checkbox") == expected
    sent = {**page.hidden, "category": ["conditions", "problem-list"], "duration": "keep"}
    assert (await here.client.post(CHANGE, data=sent)).status_code == 303


async def test_a_part_that_was_asked_for_alone_cant_be_widened(here: Place) -> None:
    here.consents.consents = [replace(SHARED, categories=("problem-list",), asked=("problem-list",))]
    page = page_of(await here.client.get(CHANGE))
    assert page.named("checkbox") == {"Problem list": True}
    sent = {**page.hidden, "category": ["conditions"], "duration": "keep"}
    assert (await here.client.post(CHANGE, data=sent)).status_code == 400
    assert here.consents.changed == []


@pytest.mark.parametrize(
    ("asked", "shared", "told"),
    [
        (("conditions", "laboratory"), ("problem-list",), ["Conditions (the rest)", "Lab results"]),
        (("conditions",), ("conditions",), []),
        (("problem-list", "visit-diagnoses"), ("problem-list",), ["Diagnoses at visits"]),
        (("problem-list",), ("conditions",), []),
        (("conditions",), (), ["Conditions"]),
        (("gone",), ("problem-list",), ["gone"]),
    ],
)
def test_what_was_asked_for_and_isnt_shared(asked: tuple[str, ...], shared: tuple[str, ...], told: list[str]) -> None:
    assert kept(asked, shared, CATALOGUE, REST) == told


def test_a_part_has_no_title_beside_its_whole() -> None:
    assert titles(("problem-list", "conditions", "laboratory"), CATALOGUE) == ["Conditions", "Lab results"]
    assert titles(("problem-list", "laboratory"), CATALOGUE) == ["Problem list", "Lab results"]


async def test_my_sharing_tells_the_part_and_that_the_rest_stays_closed(here: Place) -> None:
    here.consents.consents = [replace(SHARED, categories=("problem-list",), asked=("conditions",), state="limited")]
    text = (await here.client.get("/my")).text
    assert "<li>Problem list</li>" in text
    assert "<li>Conditions (the rest)</li>" in text
    assert "Shared in part" in text
