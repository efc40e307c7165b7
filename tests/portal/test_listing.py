"""Long lists on pages: a search by name, and part by part, without a script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.listing import LONGEST_NAME, ON_A_PAGE, listing
from tests.portal.fakes import ADA, BEN, SHARED, Place, page_of, place

NAMES = [f"App {number:02}" for number in range(45)]


@pytest.mark.parametrize(
    ("query", "page", "first", "shown"),
    [
        ({}, 1, "App 00", 20),
        ({"page": "2"}, 2, "App 20", 20),
        ({"page": "3"}, 3, "App 40", 5),
        ({"page": "4"}, 3, "App 40", 5),
        ({"page": "0"}, 1, "App 00", 20),
        ({"page": "-1"}, 1, "App 00", 20),
        ({"page": "two"}, 1, "App 00", 20),
        ({"page": "²"}, 1, "App 00", 20),
        ({"page": "9" * 5000}, 1, "App 00", 20),
        ({"name": "app 4"}, 1, "App 40", 5),
        ({"name": "  APP   44 "}, 1, "App 44", 1),
        ({"name": "3", "page": "7"}, 1, "App 03", 14),
    ],
)
def test_a_part_is_shown(query: dict[str, str], page: int, first: str, shown: int) -> None:
    found = listing(NAMES, str, query, "/my")
    assert (found.page, found.items[0], len(found.items)) == (page, first, shown)


def test_nothing_that_is_found_is_left_out() -> None:
    parts = [listing(NAMES, str, {"page": str(number)}, "/my").items for number in (1, 2, 3)]
    assert [name for part in parts for name in part] == NAMES


def test_the_ways_on_keep_the_search_and_whose_page_it_is() -> None:
    found = listing(NAMES, str, {"name": "App &", "page": "2"}, "/my", {"patient": "a/b"})
    assert (found.items, found.pages, found.earlier, found.later) == ([], 1, None, None)
    found = listing(NAMES, str, {"name": "app", "page": "2"}, "/my", {"patient": "a/b"})
    assert found.earlier == "/my?patient=a%2Fb&name=app&page=1"
    assert found.later == "/my?patient=a%2Fb&name=app&page=3"


def test_a_name_is_bounded() -> None:
    assert len(listing(NAMES, str, {"name": "x" * 5000}, "/my").name) == LONGEST_NAME


@pytest.fixture
def many() -> Place:
    here = place()
    here.sign_in(ADA, BEN)
    ended = replace(SHARED, state="revoked", ended=SHARED.since)
    here.consents.consents = [
        *(replace(SHARED, consent_id=f"c{n}", client_id=f"app-{n}", app_name=f"Diary {n:02}") for n in range(30)),
        *(replace(ended, consent_id=f"e{n}", client_id=f"old-{n}", app_name=f"Old {n:02}") for n in range(15)),
    ]
    return here


async def test_sharing_with_many_apps_comes_in_parts(many: Place) -> None:
    first = await many.client.get("/my?patient=ada")
    assert [h for h in page_of(first).headings if h.startswith("Diary")] == [f"Diary {n:02}" for n in range(ON_A_PAGE)]
    assert "Page 1 of 3" in first.text
    assert 'href="/my?patient=ada&amp;page=2" rel="next"' in first.text
    assert 'rel="prev"' not in first.text
    second = await many.client.get("/my?patient=ada&page=2")
    shown = [h for h in page_of(second).headings if h.startswith("Diary") or h == "No longer shared"]
    assert shown == [*(f"Diary {n:02}" for n in range(20, 30)), "No longer shared"]
    assert [n for n in range(15) if f"Old {n:02}" in second.text] == list(range(10))
    assert "/my/revoke-all" in second.text


async def test_an_app_is_found_by_its_name(many: Place) -> None:
    found = await many.client.get("/my?patient=ada&name=diary+2")
    assert [h for h in page_of(found).headings if h.startswith("Diary")] == [f"Diary {n}" for n in range(20, 30)]
    assert "Found for “diary 2”: 10." in found.text
    assert '<a href="/my?patient=ada">Show everything</a>' in found.text
    assert "/my/revoke-all" not in found.text  # it would revoke what isn't shown


async def test_an_app_that_is_not_there_is_said_to_be_none(many: Place) -> None:
    found = await many.client.get("/my?patient=ada&name=%3Cb%3E")
    assert "Found for “&lt;b&gt;”: 0." in found.text
    assert "Nothing is shared with any app now." not in found.text


async def test_a_short_list_has_no_search() -> None:
    here = place()
    here.sign_in(ADA, BEN)
    text = (await here.client.get("/my")).text
    assert "Find by name" not in text
    assert "Page 1" not in text
