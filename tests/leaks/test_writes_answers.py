"""L48, L73, L74: what the upstream says of what it wrote stays behind, but for an id and a version that are such."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fhir.proxy.responses import Headers, Receive, Scope, Send
from tests.leaks.world import World, observation
from tests.leaks.writes import new_observation, said, stored, writer


@asynccontextmanager
async def _writing(world: World, told: Headers, written: dict[str, object]) -> AsyncIterator[None]:
    """While the block runs, the upstream does no write of Observations, says that it did, and has `written` then."""
    bodies = [json.dumps(await stored(world, "Observation/plain")).encode()]

    async def act(scope: Scope, _: Receive, send: Send) -> None:
        method, headers = scope["method"], [(b"content-type", b"application/fhir+json")]
        if method != "GET":
            bodies.append(json.dumps(written).encode())
            headers += told
        await send({"type": "http.response.start", "status": 201 if method == "POST" else 200, "headers": headers})
        await send({"type": "http.response.body", "body": bodies[-1]})

    paths = ("/Observation", "/Observation/plain")
    world.upstream.acts |= dict.fromkeys(paths, act)
    try:
        yield
    finally:
        for path in paths:
            del world.upstream.acts[path]


@pytest.mark.leak("L48", "L74")
@pytest.mark.parametrize("version", ["1\r\nX-Injected: 1", '1", "2', "a b", "ü", "x" * 65, "..", "1/../2?x#y", ""])
async def test_l48_l74_what_is_no_version_stands_in_no_header(writable: World, version: str) -> None:
    app = await writer(writable)
    written = observation("plain", meta={"versionId": version})
    async with _writing(writable, [(b"location", b"/Observation/plain")], written):
        made = await app.send("POST", "Observation", new_observation())
    async with _writing(writable, (), written):
        changed = await app.send("PUT", "Observation/plain", new_observation(id="plain", issued="2026-01-02T03:04:05Z"))
    assert (made.status_code, changed.status_code) == (201, 200)
    assert "etag" not in {*made.headers, *changed.headers}
    assert made.headers["location"] == "http://127.0.0.1:8000/fhir/Observation/plain"


@pytest.mark.leak("L48", "L73")
@pytest.mark.parametrize(
    "location", ["/Observation/..", "/Observation/.", "/Observation/../_history/1", "/Observation/a/.."]
)
async def test_l48_l73_what_is_no_id_is_not_asked_for(writable: World, location: str) -> None:
    app = await writer(writable)
    async with _writing(writable, [(b"location", location.encode())], {}):
        with writable.upstream.listening() as heard:
            answer = await app.send("POST", "Observation", new_observation())
    assert said(answer) == (502, "transient")
    assert [asked.method for asked in heard] == ["POST"]
