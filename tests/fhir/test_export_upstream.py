"""Where exports of the upstream may lead: below its base with our credentials, to named hosts without, nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
from yarl import URL

from fhir.export.jobs import Finished
from fhir.export.upstream import ExportFailed, ExportUpstream
from fhir.upstream.client import Bearer, UpstreamFailure
from fhir.upstream.links import link_to_host
from tests.fhir.test_upstream_client import Upstream, unmeasured, whole

MANIFEST = '{"transactionTime":"2026-01-02T03:04:05Z","output":[{"type":"Patient","url":"%s","count":3}],"error":[]}'


@pytest.fixture
async def both() -> AsyncIterator[tuple[Upstream, Upstream]]:
    """The upstream, and another server."""
    made = (Upstream(), Upstream())
    servers = [await asyncio.start_server(one.handle, "127.0.0.1", 0) for one in made]
    for one, server in zip(made, servers, strict=True):
        one.port = server.sockets[0].getsockname()[1]
    yield made
    for server in servers:
        server.close()
        await server.wait_closed()


async def _read(client: ExportUpstream, url: str) -> bytes:
    found = b""
    async with client.open(url) as file:
        while piece := await file.read():
            found += piece
    return found


async def test_files_of_a_named_host_come_and_our_credentials_stay(both: tuple[Upstream, Upstream]) -> None:
    upstream, other = both
    client = ExportUpstream(upstream.base, credentials=Bearer("secret"), hosts=(f"127.0.0.1:{other.port}",))
    file = f"http://127.0.0.1:{other.port}/bucket/a.ndjson?signed=x"
    upstream.answer = lambda _: whole((MANIFEST % file).encode(), kind="application/json")
    other.answer = lambda _: whole(b"{}\n")
    try:
        found = await client.status(f"{upstream.base}/jobs/1")
        assert isinstance(found, Finished)
        assert [given.url for given in found.files] == [file]
        assert await _read(client, file) == b"{}\n"
    finally:
        await client.close()
    assert "authorization: bearer secret" in upstream.requests[0].lower()
    assert "secret" not in other.requests[0]


async def test_files_of_a_host_that_is_not_named_are_not_asked_for(both: tuple[Upstream, Upstream]) -> None:
    upstream, other = both
    client = ExportUpstream(upstream.base)
    file = f"http://127.0.0.1:{other.port}/fhir/r4/a.ndjson"
    upstream.answer = lambda _: whole((MANIFEST % file).encode(), kind="application/json")
    try:
        with pytest.raises(ExportFailed):
            await client.status(f"{upstream.base}/jobs/1")
        with pytest.raises(UpstreamFailure) as refused:
            await _read(client, file)
        assert refused.value.kind == "foreign-link"
        for answered in (
            b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % file.encode(),
            b"HTTP/1.1 202 Accepted\r\nContent-Location: %s\r\nContent-Length: 0\r\n\r\n" % file.encode(),
        ):
            upstream.answer = lambda _, answered=answered: answered  # type: ignore[misc]  # a default binds the value
            with pytest.raises(UpstreamFailure):
                await client.begin("$export", [("_type", "Patient")])
    finally:
        await client.close()
    assert other.requests == []


async def test_a_file_whose_end_cannot_be_told_is_refused(both: tuple[Upstream, Upstream]) -> None:
    upstream, _ = both
    client = ExportUpstream(upstream.base)
    upstream.answer = lambda _: unmeasured(b"{}\n")
    try:
        with pytest.raises(UpstreamFailure) as refused:
            await _read(client, f"{upstream.base}/a.ndjson")
    finally:
        await client.close()
    assert refused.value.kind == "truncated"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        *(("https://files.example/a", True), ("https://FILES.example/a", True), ("https://files.example:443/a", True)),
        *(("https://store.example:8443/a", True), ("https://store.example/a", False)),
        *(("http://files.example/a", False), ("https://files.example:8443/a", False), ("ftp://files.example/a", False)),
        *(("https://u:p@files.example/a", False), ("https://files.example.evil/a", False), ("files.example/a", False)),
        *(("https://files.example\\@evil/a", False), ("https://evil/#@files.example", False), ("", False)),
    ],
)
def test_a_named_host_is_matched_whole_and_encrypted(url: str, allowed: bool) -> None:
    hosts = frozenset({"files.example", "store.example:8443"})
    with nullcontext() if allowed else pytest.raises(UpstreamFailure, match="outside of its base"):
        link_to_host(URL("https://ehr.example/fhir"), url, hosts)
