"""What was shown of a page is remembered for one plan and one body, in bounds, where content alone decides."""

from __future__ import annotations

import json

import pytest

from fhir.proxy.page import Page
from fhir.proxy.page_memo import MAX_PAGE, PageMemo
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import UpstreamPage, cut_before_entries
from policies.decide import ReadPlan
from policies.model import Access, ResourceFacts

URL = "Observation?patient=ana&_count=51"


def plan() -> ReadPlan:
    return ReadPlan(Access("app", "g", (), 0, "j", patient="ana"), "s", ())


def body(*ids: str) -> bytes:
    entries = [{"resource": {"resourceType": "Observation", "id": wanted}} for wanted in ids]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()


def named(content: bytes, **more: object) -> bytes:
    """The same entries, in a Bundle with more before them, as servers write it."""
    head = json.dumps({"resourceType": "Bundle", "type": "searchset", **more}, separators=(",", ":"))
    entries = json.dumps(json.loads(content)["entry"], separators=(",", ":"))
    return f'{head[:-1]},"entry":{entries}}}'.encode()


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


def test_the_same_entries_in_a_bundle_of_another_name_are_known() -> None:
    memo, by = remembering(), plan()
    first = keep(memo, by, named(body("a", "b"), id="1"))
    first.shown(0)
    first.alone[0, 0, 50] = Page()
    again = memo.find(by, URL, None, named(body("a", "b"), id="2"))
    assert again is not None
    assert again is not first
    assert again.shown(0) is first.shown(0)
    assert (again.are_matches, again.alone) == (first.are_matches, first.alone)
    assert memo.find(by, URL, None, named(body("a", "c"), id="2")) is None


def test_where_a_bundle_goes_on_and_its_total_are_what_it_says_now() -> None:
    memo, by = remembering(), plan()
    first = keep(memo, by, named(body("a"), total=1))
    first.alone[0, 0, 50] = Page()
    link = [{"relation": "next", "url": "http://upstream/?page=2"}]
    again = memo.find(by, URL, None, named(body("a"), total=9, link=link))
    assert again is not None
    assert (again.total, again.next_url, again.alone) == (9, "http://upstream/?page=2", {})


@pytest.mark.parametrize(
    "head",
    [
        b'{"resourceType":"Bundle","type":"history"',
        b'{"resourceType":"Parameters","type":"searchset"',
        b'{"resourceType":"Bundle","type":"searchset","meta":{"id":"1"',
        b'{"resourceType":"Bundle","type":"searchset","note":"',
        b'{"resourceType":"Bundle","type":"searchset","note":"\\',
        b'{"resourceType":"Bundle","type":"searchset","id":"1"},{"id":"2"',
        b"",
    ],
)
def test_entries_of_anything_but_a_searchset_are_not_known(head: bytes) -> None:
    memo, by = remembering(), plan()
    content = named(body("a"), id="1")
    keep(memo, by, content)
    begin = content.index(b',"entry":[')
    for comma in (b",", b""):
        assert memo.find(by, URL, None, head + comma + content[begin + 1 :]) is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"resourceType":"Bundle","type":"searchset","entry":[],"total":1}',
        b'{"resourceType":"Bundle","type":"searchset","note":"\\"entry\\":[","entry" :[]}',
        b'{"resourceType":"Bundle","type":"searchset","x\\"entry":[],"entry":[]}',
        b'{"resourceType":"Bundle","type":"searchset","contained":{"entry":[]},"entry":[]}',
        b'{"resourceType":"Bundle","type":"searchset","entry" : []}',
        b'{"entry":[],"resourceType":"Bundle","type":"searchset"}',
        b'{"resourceType":"Bundle","type":"searchset"}',
    ],
)
def test_a_bundle_that_cant_be_cut_before_its_entries_is_known_byte_for_byte_only(content: bytes) -> None:
    memo, by = remembering(), plan()
    assert cut_before_entries(content) == 0
    found = keep(memo, by, content)
    assert memo.find(by, URL, None, content) is found
    assert memo.find(by, URL, None, b" " + content) is None


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
