"""L04, L13, L14, L22: upstreams that R4 allows and that say or heed less than most, before what is withheld."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import pytest_asyncio

from fhir.proxy.responses import Message
from sandbox.upstream import ASGIApp, Receive, Scope, Send, upstream_app
from tests.leaks.twins import Twins, twins
from tests.leaks.upstream import TOKEN
from tests.leaks.world import ACT_CODE, World, observation, patient, world

_LABEL = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
_LABS = [observation(f"lab{n}") for n in range(4)]


def _provenance(number: int) -> dict[str, object]:
    return {
        "resourceType": "Provenance",
        "id": f"prov{number}",
        "target": [{"reference": f"Observation/lab{number}"}],
        "recorded": "2026-01-03T00:00:00Z",
        "agent": [{"who": {"display": "somebody"}}],
    }


def _report(wanted: str, **more: object) -> dict[str, object]:
    lab = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}
    subject = {"reference": "Patient/ana"}
    said = {"resourceType": "DiagnosticReport", "id": wanted, "status": "final", "code": {"text": "x"}}
    return {**said, "category": [lab], "subject": subject, **more}


_SHOWN = [patient("ana"), *_LABS, *map(_provenance, range(2)), *(_report(f"z{n}") for n in range(2))]
_WITHHELD = [
    observation("a0", code="75622-1", hasMember=[{"reference": f"Observation/lab{n}"} for n in range(4)]),
    *(observation(f"b{n:02}", "bob") for n in range(20)),
    # Before the others, and more than are asked for at once.
    *(_report(f"a{n:02}", meta=_LABEL) for n in range(70)),
]


_TICKED = ("demographics", "laboratory", "imaging", "documents", "sharing-record")
"""Reports have many categories then, and the question to the upstream is a long one."""
_NAMES = [f"Observation/{lab['id']}" for lab in _LABS]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Twins]:
    folder = tmp_path_factory.mktemp("plain")
    async with (
        world(await make_database(), folder / "bare", _SHOWN) as bare,
        world(await make_database(), folder / "full", [*_WITHHELD, *_SHOWN]) as full,
    ):
        yield await twins(bare, full, _TICKED)


Act = Callable[[ASGIApp, str, Scope], Awaitable[bytes]]
"""What is answered in place of an application at some URL."""


@asynccontextmanager
async def _everywhere(pair: Twins, path: str, act: Act) -> AsyncIterator[None]:
    """While the block runs, both upstreams answer so."""
    worlds: tuple[World, World] = (pair.one.world, pair.other.world)
    for each in worlds:
        upstream = each.upstream
        own = upstream_app(upstream.repository, base_url=upstream.url, bearer_token=TOKEN)
        upstream.acts[path] = _acting(own, upstream.url + path, act)
    try:
        yield
    finally:
        for each in worlds:
            del each.upstream.acts[path]


def _acting(app: ASGIApp, url: str, act: Act) -> ASGIApp:
    async def acting(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/fhir+json")]
        body = await act(app, url, scope)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return acting


async def _told(app: ASGIApp, scope: Scope, query: str) -> dict[str, Any]:
    """What the application says to another query."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def note(message: Message) -> None:
        said.append(message)

    await app({**scope, "query_string": query.encode()}, receive, note)
    found: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in said))
    return found


async def _unmarked(app: ASGIApp, url: str, scope: Scope) -> bytes:
    """Doesn't say why an entry is there."""
    bundle = await _told(app, scope, scope["query_string"].decode())
    for entry in bundle.get("entry", ()):
        del entry["search"]
    return json.dumps(bundle).encode()


async def _failing_together(app: ASGIApp, url: str, scope: Scope) -> bytes:
    """Likewise, and gives ids only."""
    body = await _unmarked(app, url, scope)
    return body if b"_elements=id" in scope["query_string"] else b"<html>"


async def _unheeding(app: ASGIApp, url: str, scope: Scope) -> bytes:
    """Gives all that it has of the type."""
    return json.dumps(await _told(app, scope, "_count=200")).encode()


async def _by_offset(app: ASGIApp, url: str, scope: Scope, *, at_once: int = 20) -> bytes:
    """Repeats the question in its links, as many servers do, and gives no more than so many entries."""
    query = parse_qsl(scope["query_string"].decode())
    begun = int(dict(query).get("_offset", 0))
    asked = [pair for pair in query if pair[0] not in ("_count", "_offset", "_snapshot")]
    bundle = await _told(app, scope, urlencode([*asked, ("_count", "200")]))
    entries = bundle.get("entry", [])
    end = begun + at_once
    more = [{"relation": "next", "url": f"{url}?{urlencode([*asked, ('_offset', end), ('_snapshot', 'x' * 300)])}"}]
    return json.dumps({**bundle, "link": more if entries[end:] else [], "entry": entries[begun:end]}).encode()


@pytest.mark.leak("L13")
async def test_l13_an_include_of_a_withheld_match_is_no_match_where_the_upstream_marks_none(pair: Twins) -> None:
    async with _everywhere(pair, "/Observation", _unmarked):
        assert await pair.other.ids("Observation?_include=Observation:subject") == [*_NAMES, "Patient/ana"]
        await pair.same_seen(
            [
                "Observation?code=75622-1&_include=Observation:has-member",
                "Observation?code=75622-1&_include=Observation:has-member:Observation&_count=1",
                "Observation?code=75622-1&_revinclude=Observation:derived-from",
                "Observation?_include=Observation:has-member",
                "Observation?code=75622-1&_include=Observation:subject",
            ],
            pages=4,
        )


@pytest.mark.leak("L13")
async def test_l13_a_page_had_one_by_one_leaves_unmarked_what_the_upstream_leaves_unmarked(pair: Twins) -> None:
    async with _everywhere(pair, "/Observation", _failing_together):
        await pair.same_seen(["Observation?code=75622-1&_include=Observation:has-member"])


@pytest.mark.leak("L14", "L04")
async def test_l14_other_resources_than_a_provenance_targets_do_not_matter(pair: Twins) -> None:
    """An upstream that doesn't heed `_id` gives all that it has, withheld or not."""
    async with _everywhere(pair, "/Observation", _unheeding):
        assert await pair.other.ids("Provenance?target=Observation/lab0") == ["Provenance/prov0"]
        await pair.same_seen(
            [
                "Provenance?target=Observation/lab0,Observation/lab1",
                "Provenance?target=Observation/a0",
                "Provenance/prov1",
            ]
        )


@pytest.mark.leak("L22", "L04")
@pytest.mark.parametrize("question", ["DiagnosticReport?_count=1", "?_type=DiagnosticReport&_count=1"])
async def test_l22_the_length_of_a_link_tells_nothing_where_the_upstreams_repeats_the_question(
    pair: Twins, question: str
) -> None:
    async with _everywhere(pair, "/DiagnosticReport", _by_offset):
        assert await pair.other.ids(question) == ["DiagnosticReport/z0"]
        await pair.same_seen([question], pages=2)


@pytest.mark.leak("L04")
async def test_l04_withheld_rows_that_fill_many_short_pages_tell_nothing(pair: Twins) -> None:
    async with _everywhere(pair, "/DiagnosticReport", partial(_by_offset, at_once=3)):
        assert await pair.other.ids("DiagnosticReport?_count=1") == ["DiagnosticReport/z0"]
        await pair.same_seen(
            [
                *("DiagnosticReport", "DiagnosticReport?_count=1"),
                *("Patient/ana/$everything?_type=Patient,DiagnosticReport", "?_type=DiagnosticReport,Patient"),
            ],
            pages=3,
        )
