"""What the upstream fails at is had one by one, from where a search stands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from fhir.proxy.page import Page
from fhir.proxy.pages_by_id import asked_by_id, is_by_id, may_be_had_alone, page_by_id
from fhir.proxy.searchset import fill_page
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import decided_by
from fhir.upstream.failure import FailureKind, UpstreamFailure
from policies.model import ResourceFacts

_QUESTION = "Observation?a=b&_count=4"
_FAILED = UpstreamFailure("too-large", status=200)
_Fetch = Callable[[str], Awaitable[bytes]]


class _Upstream:
    """Pages by offset; it fails at any page on which one of `huge` stands, unless for ids only."""

    def __init__(self, ids: list[str], huge: set[str]) -> None:
        self.ids, self.huge = ids, huge
        self.read: list[str] = []
        self.reading = self.most_reading = 0
        self.length = 0
        """Of what is shown."""

    async def page(self, url: str) -> bytes:
        query = {name: values[0] for name, values in parse_qs(url.partition("?")[2]).items()}
        start, count = int(query.get("offset", 0)), int(query["_count"])
        found = self.ids[start : start + count]
        only_ids = query.get("_elements") == "id"
        if not only_ids and self.huge & set(found):
            raise _FAILED
        following = "&".join(f"{n}={v}" for n, v in {**query, "offset": str(start + count)}.items())
        links = [{"relation": "next", "url": f"Observation?{following}"}] if start + count < len(self.ids) else []
        return _bundle([{"resource": _resource(id, whole=not only_ids)} for id in found], links)

    async def alone(self, kind: str, id: str, version: str) -> bytes | None:
        assert version == ""
        self.read.append(f"{kind}/{id}")
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        return None if id in self.huge else json.dumps(_resource(id, whole=True)).encode() + b" " * self.length

    async def fetch(self, url: str) -> bytes:
        return await (page_by_id(url, self.page, self.alone) if is_by_id(url) else self.page(url))


def _resource(id: str, *, whole: bool) -> dict[str, object]:
    return {"resourceType": "Observation", "id": id, **({"status": "final"} if whole else {})}


def _bundle(entries: list[Any], links: list[Any] | None = None, total: int | None = None) -> bytes:
    told = {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links or [], "total": total}
    return json.dumps(told).encode()


def _show(raw: bytes) -> Shown | None:
    """Only what is whole can be decided."""
    found = json.loads(raw)
    return Shown(ResourceFacts("Observation", found["id"]), raw) if "status" in found else None


async def _all(fetch: _Fetch, count: int) -> list[str]:
    """Page by page, as an app follows the links."""
    found: list[str] = []
    page = Page(next_url=_QUESTION)
    while page.next_url is not None:
        page = await fill_page(
            *("Observation", count, page.next_url, page.next_position, decided_by(_show, fetch)),
            question=_QUESTION,
            passed=page.next_passed,
        )
        found += [shown.facts.id for shown in page.matches]
    return found


@pytest.mark.parametrize("count", [1, 3, 4, 7, 50])
@pytest.mark.parametrize("place", range(0, 30, 3))
async def test_a_result_loses_what_fails_alone_and_nothing_else_wherever_it_stands(place: int, count: int) -> None:
    ids = [f"o{n}" for n in range(30)]
    upstream = _Upstream(ids, {ids[place]})
    assert await _all(upstream.fetch, count) == [id for id in ids if id != ids[place]]


async def test_too_many_that_take_too_long_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on a first page nor where a link goes on."""
    monkeypatch.setattr("fhir.proxy.searchset.MOST_SECONDS_ALONE", 0.05)
    upstream, never = _Upstream([f"o{n}" for n in range(30)], {"o9"}), asyncio.Event()

    async def alone(kind: str, id: str, version: str) -> bytes | None:
        await never.wait()
        return None

    async def fetch(url: str) -> bytes:
        return await (page_by_id(url, upstream.page, alone) if is_by_id(url) else upstream.page(url))

    for first, kind in ((_QUESTION, "too-large"), (asked_by_id(_QUESTION), "timeout")):
        with pytest.raises(UpstreamFailure) as failed:
            await fill_page("Observation", 50, first, 0, decided_by(_show, fetch), question=_QUESTION)
        assert failed.value.kind == kind


async def test_nothing_is_read_alone_where_nothing_fails() -> None:
    upstream = _Upstream([f"o{n}" for n in range(30)], set())
    assert len(await _all(upstream.fetch, 7)) == 30
    assert upstream.read == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("paused", None),
        ("redirect", 302),
        ("bad-status", 400),
        ("bad-status", 429),
        ("bad-status", 503),
    ],
)
def test_a_server_that_refuses_or_is_away_is_not_asked_in_another_way(kind: FailureKind, status: int | None) -> None:
    assert not may_be_had_alone(UpstreamFailure(kind, status=status))


def test_what_is_included_is_not_listed() -> None:
    assert asked_by_id("Patient?_id=a&_include=Patient:x&_revinclude=Observation:subject&_count=51") == (
        "by-id:0:Patient?_id=a&_elements=id&_count=8"
    )


@pytest.mark.parametrize("place", [None, 0, 3, 7, 8, 29])
async def test_a_page_holds_few_large_resources_at_a_time_and_loses_none(
    monkeypatch: pytest.MonkeyPatch, place: int | None
) -> None:
    monkeypatch.setattr("fhir.proxy.pages_by_id.ENOUGH", 2_500)
    ids = [f"o{n}" for n in range(12)]
    upstream = _Upstream(ids, set() if place is None else {f"o{place}"})
    upstream.length = 1_000
    url, found = asked_by_id(_QUESTION), []
    while True:
        told = json.loads(await upstream.fetch(url))
        page = [entry["resource"]["id"] for entry in told["entry"] if "resource" in entry]
        assert len(page) <= 4
        found += page
        url = next((link["url"] for link in told["link"] if link["relation"] == "next"), "")
        if not url:
            break
    assert found == [id for id in ids if id not in upstream.huge]
    assert len(upstream.read) == len(ids)
    assert upstream.most_reading == 2


async def test_a_list_that_is_not_the_whole_and_leads_nowhere_is_had_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a longer one is asked for, and results are told apart by their place on it."""
    monkeypatch.setattr("fhir.proxy.pages_by_id.ENOUGH", 1)
    ids = [f"o{n}" for n in range(20)]
    upstream = _Upstream(ids, set())

    async def page(url: str) -> bytes:
        count = int(parse_qs(url.partition("?")[2])["_count"][0])
        return _bundle([{"resource": _resource(id, whole=False)} for id in ids[:count]], total=20)

    async def fetch(url: str) -> bytes:
        if not is_by_id(url):
            raise _FAILED
        return await page_by_id(url, page, upstream.alone)

    assert await _all(fetch, 50) == ids


async def test_a_list_from_which_nothing_leads_on_is_not_taken_for_the_whole() -> None:
    """Nor one that is longer than what was asked for."""
    for told in (
        lambda count: _list(30, count),
        lambda _: _list(30, 30, total=30),
        lambda _: b'{"entry":[{"resource":1}]}',
    ):
        with pytest.raises(UpstreamFailure):
            await page_by_id(asked_by_id(_QUESTION), _giving(told), _Upstream([], set()).alone)


@pytest.mark.parametrize("there", [7, 8, 9, 23])
async def test_where_neither_length_nor_end_are_said_a_longer_list_tells_them(there: int) -> None:
    told = await page_by_id(
        asked_by_id(_QUESTION), _giving(lambda count: _list(there, count)), _Upstream([], set()).alone
    )
    assert [entry["resource"]["id"] for entry in json.loads(told)["entry"]] == [f"o{n}" for n in range(there)]


async def test_a_server_that_led_here_by_a_link_ends_where_it_gives_none() -> None:
    upstream = _Upstream([], set())
    url = "by-id:0:http://upstream.example/fhir?_getpages=x"
    told = json.loads(await page_by_id(url, _giving(lambda _: _list(30, 8)), upstream.alone))
    assert (len(told["entry"]), told["link"]) == (8, [])


def _list(there: int, count: int, total: int | None = None) -> bytes:
    """The first of so many ids, as a server gives them that leads nowhere."""
    return _bundle([{"resource": _resource(f"o{n}", whole=False)} for n in range(min(there, count))], total=total)


def _giving(told: Callable[[int], bytes]) -> _Fetch:
    """A server that says the same whatever it is asked, but for `_count`."""

    async def page(url: str) -> bytes:
        return told(int(parse_qs(url.partition("?")[2]).get("_count", ["0"])[0]))

    return page


@pytest.mark.parametrize(
    "url", ["by-id:", "by-id:x:Observation?", "by-id:-1:Observation?a=b", "by-id:100:Observation?"]
)
async def test_a_page_that_the_upstream_made_up_is_none(url: str) -> None:
    upstream = _Upstream([], set())
    with pytest.raises(UpstreamFailure) as failed:
        await page_by_id(url, upstream.page, upstream.alone)
    assert failed.value.kind == "foreign-link"


async def test_what_is_listed_without_a_name_is_not_asked_for() -> None:
    names = [("Observation", ".."), ("Observation", "a/b"), ("observation", "x"), ("Observation", "")]
    entries = [{"resource": {"resourceType": kind, "id": id}} for kind, id in names]
    upstream = _Upstream([], set())

    async def page(_: str) -> bytes:
        return _bundle([*entries, {}])

    found = json.loads(await page_by_id(asked_by_id(_QUESTION), page, upstream.alone))
    assert upstream.read == []
    assert [entry.get("resource") for entry in found["entry"]] == [None] * 5
