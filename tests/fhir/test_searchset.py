"""Pages for the app are filled from the upstream's, each entry decided by itself; nothing tells of what is withheld."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.include_links import Links
from fhir.proxy.page import Page
from fhir.proxy.pages_by_id import is_by_id
from fhir.proxy.searchset import fill_page, searchset
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import BrokenBundle, decided_by
from fhir.upstream.failure import UpstreamFailure
from policies.model import ResourceFacts


def _entry(name: str, mode: str = "match", refers_to: Sequence[str] = ()) -> dict[str, object]:
    kind, _, wanted = name.partition("/")
    return {"resource": {"resourceType": kind, "id": wanted, "refs": list(refers_to)}, "search": {"mode": mode}}


def _bundle(entries: Sequence[object], following: str | None = None, total: int | None = None) -> bytes:
    links = [{"relation": "self", "url": "x"}, *([{"relation": "next", "url": following}] if following else [])]
    return json.dumps(
        {"resourceType": "Bundle", "type": "searchset", "total": total, "link": links, "entry": list(entries)}
    ).encode()


def _show(raw: bytes) -> Shown | None:
    """Withholds what is named hidden; can't read what is named broken."""
    content = json.loads(raw)
    if "broken" in content["id"]:
        raise NotMinimizable("broken")
    if "hidden" in content["id"]:
        return None
    facts = ResourceFacts(content["resourceType"], content["id"])
    return Shown(facts, b"{}", Links(included=frozenset(content["refs"])))


async def _fill(
    pages: dict[str, bytes], count: int = 2, first: str = "1", position: int = 0, *, including: bool = False
) -> Page:
    async def fetch(url: str) -> bytes:
        return pages[url]

    apart = _nothing_apart if including else None
    return await fill_page("Observation", count, first, position, decided_by(_show, fetch), apart=apart)


async def _nothing_apart(matches: Sequence[Shown]) -> Sequence[Shown]:
    raise AssertionError("what stands on a page isn't asked for again")


async def test_withheld_and_broken_entries_leave_no_gap() -> None:
    entries = [_entry(f"Observation/{n}") for n in ("a", "hidden1", "broken1", "b")]
    page = await _fill({"1": _bundle(entries)})
    assert [m.name for m in page.matches] == ["Observation/a", "Observation/b"]
    assert page.next_url is None


async def test_a_page_is_refilled_from_the_upstreams_next_page() -> None:
    pages = {
        "1": _bundle([_entry("Observation/hidden1"), _entry("Observation/a")], "2"),
        "2": _bundle([_entry("Observation/b"), _entry("Observation/c")]),
    }
    page = await _fill(pages)
    assert [m.name for m in page.matches] == ["Observation/a", "Observation/b"]
    assert (page.next_url, page.next_position) == ("2", 1)
    following = await _fill(pages, first="2", position=1)
    assert [m.name for m in following.matches] == ["Observation/c"]
    assert following.next_url is None


async def test_no_next_link_when_only_withheld_entries_follow() -> None:
    pages = {
        "1": _bundle([_entry("Observation/a"), _entry("Observation/b")], "2"),
        "2": _bundle([_entry("Observation/hidden1")]),
    }
    assert (await _fill(pages)).next_url is None


async def test_a_page_ends_when_it_is_large_by_what_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir.proxy.searchset.MOST_BYTES", 4)  # each that is shown has two bytes
    entries = [_entry(f"Observation/{n}") for n in ("hidden1", "hidden2", "a", "hidden3", "b", "c", "d")]
    page = await _fill({"1": _bundle(entries)}, count=50)
    assert [m.name for m in page.matches] == ["Observation/a", "Observation/b"]
    assert (page.next_url, page.next_position) == ("1", 5)
    page = await _fill({"1": _bundle(entries)}, count=50, position=5)
    assert [m.name for m in page.matches] == ["Observation/c", "Observation/d"]
    assert page.next_url is None


async def test_an_include_of_a_withheld_match_only_is_withheld() -> None:
    entries = [
        _entry("Observation/a", refers_to=["Practitioner/p"]),
        _entry("Observation/hidden1", refers_to=["Practitioner/q"]),
        _entry("Practitioner/p", "include"),
        _entry("Practitioner/q", "include"),
    ]
    page = await _fill({"1": _bundle(entries)}, including=True)
    assert [i.name for i in page.includes] == ["Practitioner/p"]


async def test_includes_behind_the_last_match_of_a_full_page_come_along() -> None:
    entries = [
        *(_entry(f"Observation/{n}", refers_to=[f"Practitioner/{n}"]) for n in "abc"),
        *(_entry(f"Practitioner/{n}", "include") for n in "cba"),
    ]
    page = await _fill({"1": _bundle(entries)}, including=True)
    assert [m.name for m in page.matches] == ["Observation/a", "Observation/b"]
    assert [i.name for i in page.includes] == ["Practitioner/a", "Practitioner/b"]
    assert (page.next_url, page.next_position) == ("1", 2)


@pytest.mark.parametrize(("position", "included"), [(0, ["Observation/c"]), (2, ["Observation/a"])])
async def test_what_the_upstream_has_as_a_match_elsewhere_on_its_page_is_included(
    position: int, included: list[str]
) -> None:
    refers = {"a": "c", "b": "a", "c": "a", "d": "c"}
    entries = [_entry(f"Observation/{n}", refers_to=[f"Observation/{to}"]) for n, to in refers.items()]
    page = await _fill({"1": _bundle(entries)}, position=position, including=True)
    assert [i.name for i in page.includes] == included


async def test_entries_of_another_type_or_mode_are_not_matches() -> None:
    entries = [_entry("Condition/a"), _entry("Observation/o", "outcome"), {"search": {"mode": "match"}}]
    page = await _fill({"1": _bundle(entries)})
    assert page.matches == []
    assert page.includes == []


async def test_a_next_link_to_itself_ends_the_search() -> None:
    page = await _fill({"1": _bundle([_entry("Observation/a")], "1")})
    assert [m.name for m in page.matches] == ["Observation/a"]


async def test_an_upstream_without_page_links_is_asked_for_all_it_has() -> None:
    names = [f"Observation/{n}" for n in "abcde"]
    pages = {
        "Observation?_count=3": _bundle([_entry(name) for name in names[:3]], total=5),
        "Observation?_count=5": _bundle([_entry(name) for name in names], total=5),
    }
    page = await _fill(pages, count=4, first="Observation?_count=3")
    assert [m.name for m in page.matches] == names[:4]
    assert (page.next_url, page.next_position) == ("Observation?_count=5", 4)
    following = await _fill(pages, count=4, first="Observation?_count=5", position=4)
    assert [m.name for m in following.matches] == names[4:]
    assert following.next_url is None


async def _fill_first(pages: dict[str, bytes], most: int, count: int = 2) -> tuple[Page, list[str]]:
    """From an upstream whose answers may have `most` bytes, and that lists no ids; and what it was asked."""
    asked: list[str] = []
    question = "Observation?a=b&_count=51"

    async def fetch(url: str) -> bytes:
        if is_by_id(url):
            raise UpstreamFailure("bad-status", status=400)
        asked.append(url)
        if len(pages[url]) > most:
            raise UpstreamFailure("too-large", status=200)
        return pages[url]

    page = await fill_page("Observation", count, question, 0, decided_by(_show, fetch), question=question)
    return page, list(dict.fromkeys(asked))


async def test_a_first_page_that_is_too_large_is_asked_for_with_fewer_results() -> None:
    few = _bundle([_entry("Observation/hidden"), _entry("Observation/a")], "2")
    large = _bundle([_entry(f"Observation/hidden{n}") for n in range(50)], "3")
    pages = {
        "Observation?a=b&_count=51": large,
        "Observation?a=b&_count=10": large,
        "Observation?a=b&_count=2": few,
        "2": _bundle([_entry("Observation/b"), _entry("Observation/c")]),
    }
    page, asked = await _fill_first(pages, 1_000)
    assert [m.name for m in page.matches] == ["Observation/a", "Observation/b"]
    assert (page.next_url, page.next_position) == ("2", 1)
    assert asked == list(pages)
    with pytest.raises(UpstreamFailure, match="too large"):
        await _fill_first(pages, 100)


async def test_a_shorter_page_that_does_not_say_how_to_go_on_is_not_taken_for_the_whole() -> None:
    whole = _bundle([_entry(f"Observation/{n}") for n in range(40)], total=40)
    first = _bundle([_entry(f"Observation/{n}") for n in range(10)], total=40)
    pages = {"Observation?a=b&_count=51": whole, "Observation?a=b&_count=10": first}
    with pytest.raises(UpstreamFailure, match="too large"):
        await _fill_first(pages, 2_000)


async def test_a_total_that_was_counted_wrong_doesnt_make_the_search_go_round() -> None:
    page = await _fill(
        {"Observation?_count=3": _bundle([_entry("Observation/a")], total=9)}, first="Observation?_count=3"
    )
    assert [m.name for m in page.matches] == ["Observation/a"]
    assert page.next_url is None


async def test_endless_upstream_pages_are_left_after_a_bound_with_a_link_to_go_on() -> None:
    pages = {str(n): _bundle([_entry("Observation/hidden1")], str(n + 1)) for n in range(1, 80)}
    page = await _fill(pages)
    assert page.matches == []
    assert page.next_url == "65"


async def test_upstream_pages_that_hold_much_are_left_after_fewer_of_them() -> None:
    much = [_entry("Observation/hidden1")] * 51
    page = await _fill({str(n): _bundle(much, str(n + 1)) for n in range(1, 80)})
    assert page.matches == []
    assert page.next_url == "9"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"resourceType":"Patient"}', b'{"resourceType":"Bundle","type":"batch"}']
)
async def test_what_is_no_searchset_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BrokenBundle):
        await _fill({"1": body})


def test_a_rendered_bundle_has_own_full_urls_and_only_the_links_given() -> None:
    page = Page([Shown(ResourceFacts("Observation", "a"), b'{"resourceType":"Observation"}')])
    bundle = json.loads(searchset(page, "https://a/fhir", [("self", "https://a/fhir/Observation")], 1))
    assert bundle == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": "https://a/fhir/Observation"}],
        "entry": [
            {
                "fullUrl": "https://a/fhir/Observation/a",
                "resource": {"resourceType": "Observation"},
                "search": {"mode": "match"},
            }
        ],
    }


@pytest.mark.parametrize(("entries", "is_page"), [(5_000, True), (50_000, False)])
async def test_a_page_of_entries_in_which_nothing_stands_is_kept_in_no_memory(entries: int, is_page: bool) -> None:
    pages = {"1": _bundle([{}] * entries).replace(b" ", b"")}
    if is_page:
        assert (await _fill(pages)).matches == []
        return
    with pytest.raises(BrokenBundle):
        await _fill(pages)


@pytest.mark.parametrize("begins", ["https://ehr.example/fhir?", "Observation?"])
async def test_a_link_is_followed_up_to_a_length(begins: str) -> None:
    for length, is_followed in ((8_192, True), (8_193, False)):
        link = begins.ljust(length, "x")
        pages = {"1": _bundle([_entry("Observation/a")], link), link: _bundle([_entry("Observation/b")])}
        if is_followed:
            assert [match.name for match in (await _fill(pages)).matches] == ["Observation/a", "Observation/b"]
            continue
        with pytest.raises(BrokenBundle):
            await _fill(pages)
