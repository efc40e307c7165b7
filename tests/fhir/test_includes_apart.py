"""What a search includes is found by searches of its own, however much of it the upstream fails at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import parse_qs, urlencode

import pytest

from fhir.proxy.include_links import Links
from fhir.proxy.includes_apart import IncludesApart
from fhir.proxy.pages_by_id import is_by_id, page_by_id
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import decided_by
from fhir.upstream.failure import UpstreamFailure
from policies.model import ResourceFacts


class _Upstream:
    """Finds so many of each type, by whatever is asked for; ids on its pages are counted from the first."""

    def __init__(self, there: dict[str, int], broken: str = "") -> None:
        self.there, self.broken = there, broken
        self.asked: list[tuple[str, str, list[str]]] = []
        self.length = 0

    async def page(self, url: str) -> bytes:
        kind, _, query = url.partition("?")
        pairs = {name: values[0] for name, values in parse_qs(query).items()}
        if "_from" not in pairs and "_elements" not in pairs:
            name = next(iter(pairs))
            self.asked.append((kind, name, pairs[name].split(",")))
        begin, count = int(pairs.get("_from", 0)), int(pairs["_count"])
        names = [f"{kind}/{n}" for n in range(begin, min(begin + count, self.there.get(kind, 0)))]
        if self.broken in names and "_elements" not in pairs:
            raise UpstreamFailure("too-large", status=200)
        links = [{"relation": "next", "url": f"{kind}?{urlencode({**pairs, '_from': begin + count})}"}]
        more = begin + count < self.there.get(kind, 0)
        entries = [{"resource": self._resource(name)} for name in names]
        told = {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links if more else []}
        return json.dumps(told).encode()

    async def alone(self, kind: str, id: str, version: str) -> bytes | None:
        name = f"{kind}/{id}"
        return None if name == self.broken else json.dumps(self._resource(name)).encode()

    async def fetch(self, url: str) -> bytes:
        return await (page_by_id(url, self.page, self.alone) if is_by_id(url) else self.page(url))

    def _resource(self, name: str) -> dict[str, str]:
        kind, _, wanted = name.partition("/")
        return {"resourceType": kind, "id": wanted, "x": "x" * self.length}


def _show(raw: bytes) -> Shown | None:
    found = json.loads(raw)
    return Shown(ResourceFacts(found["resourceType"], found["id"]), raw)


def _question(search: SearchRequest) -> str:
    return f"{search.resource_type}?{urlencode([*search.criteria, ('_count', str(search.count))])}"


async def _apart(upstream: _Upstream, matches: Sequence[Shown], *includes: tuple[str, str]) -> list[str]:
    search = SearchRequest("Patient", includes, 50, None, (), includes)
    get = decided_by(_show, upstream.fetch)
    apart = IncludesApart(search, _question, lambda kind: kind != "Device", get)
    return [shown.name for shown in await apart(matches)]


def _match(name: str, *included: str) -> Shown:
    kind, _, wanted = name.partition("/")
    return Shown(ResourceFacts(kind, wanted), b"{}", Links(included=frozenset(included)))


async def test_each_include_is_a_search_by_what_was_matched() -> None:
    upstream = _Upstream({"Observation": 3, "Practitioner": 1})
    matches = [_match(f"Patient/{n}", f"Practitioner/{n}", "Device/x") for n in range(45)]
    found = await _apart(
        upstream,
        matches,
        ("_include", "Patient:general-practitioner"),
        ("_revinclude", "Observation:subject:Patient"),
        ("_revinclude", "Device:patient"),
    )
    assert [(kind, name, len(values)) for kind, name, values in upstream.asked] == [
        ("Practitioner", "_id", 40),
        ("Practitioner", "_id", 5),
        ("Observation", "subject", 40),
        ("Observation", "subject", 5),
    ]
    assert upstream.asked[3][2] == [f"Patient/{n}" for n in range(40, 45)]
    assert set(found) == {"Practitioner/0", "Observation/0", "Observation/1", "Observation/2"}


async def test_nothing_is_asked_for_what_matched_nothing() -> None:
    upstream = _Upstream({"Observation": 3})
    assert await _apart(upstream, [], ("_revinclude", "Observation:subject")) == []
    assert upstream.asked == []


@pytest.mark.parametrize("place", [0, 7, 8, 250])
async def test_what_the_upstream_fails_at_is_missing_among_what_is_included(place: int) -> None:
    upstream = _Upstream({"Observation": 300}, f"Observation/{place}")
    found = await _apart(upstream, [_match("Patient/a")], ("_revinclude", "Observation:subject"))
    assert set(found) == {f"Observation/{n}" for n in range(300) if n != place}


async def test_more_than_can_be_had_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of it would look like all of it."""
    for upstream, most in ((_Upstream({"Observation": 100_000}), 10**9), (_Upstream({"Observation": 10}), 100)):
        monkeypatch.setattr("fhir.proxy.includes_apart.MOST_BYTES", most)
        upstream.length = 20
        with pytest.raises(UpstreamFailure) as failed:
            await _apart(upstream, [_match("Patient/a")], ("_revinclude", "Observation:subject"))
        assert failed.value.kind == "too-large"
