"""What was shown of a page is remembered for one plan and one body, in bounds, where content alone decides."""

from __future__ import annotations

import json

import pytest

from fhir.proxy.page_memo import MAX_PAGE, PageMemo
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import UpstreamPage
from policies.decide import ReadPlan
from policies.model import Access, ResourceFacts

URL = "Observation?patient=ana&_count=51"


def plan() -> ReadPlan:
    return ReadPlan(Access("app", "g", (), 0, "j", patient="ana"), "s", ())


def body(*ids: str) -> bytes:
    entries = [{"resource": {"resourceType": "Observation", "id": wanted}} for wanted in ids]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()


def page(content: bytes) -> UpstreamPage:
    return UpstreamPage(content, lambda raw: Shown(ResourceFacts("Observation", json.loads(raw)["id"]), raw))


def keep(memo: PageMemo, by: ReadPlan, content: bytes, url: str = URL) -> UpstreamPage:
    """Show it twice: what comes once isn't kept."""
    found = page(content)
    for _ in range(2):
        memo.keep(by, url, None, content, found)
    return found


def remembering(max_bytes: int = 100_000) -> PageMemo:
    return PageMemo(lambda raw: b"by-another" not in raw, max_bytes)


def test_a_page_that_comes_once_isnt_kept() -> None:
    memo, by, content = remembering(), plan(), body("a")
    found = page(content)
    memo.keep(by, URL, None, content, found)
    assert memo.find(by, URL, None, content) is None
    memo.keep(by, URL, None, content, found)
    assert memo.find(by, URL, None, content) is found


def test_it_is_the_same_page_only_byte_for_byte_at_the_same_url_for_the_same_elements() -> None:
    memo, by, content = remembering(), plan(), body("a")
    keep(memo, by, content)
    assert memo.find(by, URL, None, content) is not None
    assert memo.find(by, URL, None, content + b" ") is None
    assert memo.find(by, f"{URL}&_sort=date", None, content) is None
    assert memo.find(by, URL, frozenset({"code"}), content) is None


def test_another_plan_finds_nothing_though_it_says_the_same() -> None:
    memo, content = remembering(), body("a")
    first, second = plan(), plan()
    keep(memo, first, content)
    assert first == second
    assert memo.find(second, URL, None, content) is None


def test_no_plan_that_is_gone_leaves_its_pages_to_another() -> None:
    """Of a plan that nobody else holds, the memory would be used again, and so its `id`."""
    memo, content = remembering(), body("a")
    for _ in range(50):
        keep(memo, plan(), content)
        assert memo.find(plan(), URL, None, content) is None


def test_what_came_anew_takes_the_place_of_what_was() -> None:
    memo, by = remembering(), plan()
    keep(memo, by, body("a"))
    newer = keep(memo, by, body("b"))
    assert memo.find(by, URL, None, body("a")) is None
    assert memo.find(by, URL, None, body("b")) is newer


@pytest.mark.parametrize("content", [body("a", "by-another"), body("x" * MAX_PAGE)])
def test_what_hangs_on_others_and_what_is_large_isnt_kept(content: bytes) -> None:
    memo, by = PageMemo(lambda raw: b"by-another" not in raw), plan()
    keep(memo, by, content)
    assert memo.find(by, URL, None, content) is None


def test_the_page_used_least_lately_goes_first_and_the_bound_holds_however_often_one_changes() -> None:
    memo, by = remembering(6_000), plan()
    for n in range(100):
        keep(memo, by, body(f"first-{n}"), "first")
    keep(memo, by, body("b"), "second")
    assert memo.find(by, "first", None, body("first-99")) is not None
    for n in range(3):
        keep(memo, by, body("c"), f"third-{n}")
        memo.find(by, "first", None, body("first-99"))
    assert memo.find(by, "second", None, body("b")) is None
    assert memo.find(by, "first", None, body("first-99")) is not None


def test_what_is_shown_of_an_entry_is_found_once() -> None:
    asked: list[bytes] = []

    def show(raw: bytes) -> None:
        asked.append(raw)

    found = UpstreamPage(body("a", "b"), show)
    assert [found.shown(1), found.shown(1), found.shown(0)] == [None, None, None]
    assert [json.loads(raw)["id"] for raw in asked] == ["b", "a"]
