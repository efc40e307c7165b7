"""A history that the upstream fails at is had version by version, from where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from fhir.proxy.history_by_number import asked_by_number, is_by_number, page_by_number
from fhir.proxy.page import Page
from fhir.proxy.searchset import fill_page
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import decided_by
from fhir.upstream.failure import UpstreamFailure
from policies.model import ResourceFacts

_QUESTION = "Observation/a/_history?_count=4"


def _version(number: int | str, length: int = 0) -> bytes:
    return json.dumps(
        {"resourceType": "Observation", "id": "a", "meta": {"versionId": str(number)}, "x": "x" * length}
    ).encode()


class _Upstream:
    """Pages by offset; it fails from the page on in which `broken` stands. `given`: versions that it has."""

    def __init__(self, given: Mapping[str, bytes], broken: str) -> None:
        self.given, self.broken = given, broken
        self.read: list[str] = []

    async def fetch(self, url: str) -> bytes:
        if is_by_number(url):
            return await page_by_number(url, self.alone)
        begin = int(url.partition("&_from=")[2] or 0)
        page = [*self.given][begin : begin + 4]
        if self.broken in page:
            raise UpstreamFailure("bad-status", status=500)
        links = [{"relation": "next", "url": f"{_QUESTION}&_from={begin + 4}"}] if begin + 4 < len(self.given) else []
        entries = [{"resource": json.loads(self.given[number])} for number in page]
        return json.dumps({"resourceType": "Bundle", "type": "history", "link": links, "entry": entries}).encode()

    async def alone(self, kind: str, id: str, version: str) -> bytes | None:
        assert (kind, id) == ("Observation", "a")
        self.read.append(version)
        return self.given.get(version) if version != self.broken else None


async def _all(upstream: _Upstream, newest: str, count: int) -> list[str]:
    async def one_by_one(behind: int) -> str | None:
        return asked_by_number("Observation/a", newest, behind)

    found: list[str] = []
    page = Page(next_url=_QUESTION)
    while page.next_url is not None:
        get = decided_by(lambda raw: Shown(ResourceFacts("Observation", "a"), raw), upstream.fetch, "history")
        page = await fill_page(
            *("Observation", count, page.next_url, page.next_position, get),
            versions=True,
            question=_QUESTION,
            passed=page.next_passed,
            one_by_one=one_by_one,
        )
        found += [json.loads(shown.body)["meta"]["versionId"] for shown in page.matches]
    return found


@pytest.mark.parametrize("count", [1, 3, 4, 8, 50])
@pytest.mark.parametrize("broken", ["30", "29", "27", "23", "12", "1"])
async def test_a_history_loses_the_version_that_fails_and_no_other_wherever_it_stands(broken: str, count: int) -> None:
    numbers = [str(n) for n in range(30, 0, -1)]
    found = await _all(_Upstream({n: _version(n) for n in numbers}, broken), "30", count)
    assert found == [n for n in numbers if n != broken]


async def test_what_lies_before_is_not_read_again() -> None:
    numbers = [str(n) for n in range(200, 0, -1)]
    upstream = _Upstream({n: _version(n) for n in numbers}, "20")
    assert await _all(upstream, "200", 10) == [n for n in numbers if n != "20"]
    assert max(map(int, upstream.read)) == 30


async def test_numbers_that_were_never_given_leave_no_trace() -> None:
    numbers = ["30", "21", "20", "9", "2"]
    assert await _all(_Upstream({n: _version(n) for n in numbers}, "20"), "30", 2) == ["30", "21", "9", "2"]


async def test_another_version_than_the_one_that_was_asked_for_is_none() -> None:
    """Some servers give the current one whatever version is asked for."""
    given = {str(n): _version(3) for n in (3, 2, 1)}
    assert await _all(_Upstream(given, "2"), "3", 50) == ["3"]


async def test_a_page_holds_few_large_versions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir.proxy.history_by_number.ENOUGH", 2_500)
    upstream = _Upstream({str(n): _version(n, 1_000) for n in range(8, 0, -1)}, "8")
    told = json.loads(await upstream.fetch(asked_by_number("Observation/a", "7", 0) or ""))
    assert [entry["resource"]["meta"]["versionId"] for entry in told["entry"]] == ["7", "6", "5"]
    assert told["link"] == [{"relation": "next", "url": "by-number:4:Observation/a"}]


@pytest.mark.parametrize(
    "url",
    ["by-number:", "by-number:x:Observation/a", "by-number:3:../a", "by-number:3:Observation/..", "by-number:0:A/a"],
)
async def test_a_page_that_the_upstream_made_up_is_none(url: str) -> None:
    with pytest.raises(UpstreamFailure) as failed:
        await page_by_number(url, _Upstream({}, "").alone)
    assert failed.value.kind == "foreign-link"


@pytest.mark.parametrize("version", ["", "0", "01", "1000", "-1", "a", "3f2c", "1.0", "\u0661", "1\n"])
async def test_versions_that_are_no_small_numbers_are_not_counted_down(version: str) -> None:
    assert asked_by_number("Observation/a", version, 0) is None
    with pytest.raises(UpstreamFailure):
        await _all(_Upstream({"3": _version(3)}, "3"), version, 50)
