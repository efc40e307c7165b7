"""Where exports of the upstream may lead: below its base with our credentials, to named hosts without, nowhere else."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress

import pytest
from yarl import URL

from fhir.export.jobs import Finished
from fhir.export.stream import batches
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


LINE = b'{"resourceType":"Patient","id":"p1"}\n'


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        *(("Transfer-Encoding: identity", "not-fhir"), ("Transfer-Encoding: gzip", "not-fhir")),
        ("Transfer-Encoding: xchunked", "not-fhir"),
        ("Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 37", "not-fhir"),
        ("Content-Encoding: gzip, gzip\r\nContent-Length: 37", "not-fhir"),
        ("Content-Encoding: br\r\nContent-Length: 37", "not-fhir"),
        *(("", "truncated"), ("Content-Length: 37\r\nContent-Length: 37", "unreachable")),
    ],
)
async def test_a_file_that_can_be_read_in_two_ways_or_cut_unseen_is_refused(
    both: tuple[Upstream, Upstream], head: str, kind: str
) -> None:
    upstream, _ = both
    client = ExportUpstream(upstream.base)
    head = "\r\n".join(filter(None, ("HTTP/1.1 200 OK", "Connection: close", head)))
    upstream.answer = lambda _: head.encode() + b"\r\n\r\n" + LINE
    try:
        with pytest.raises(UpstreamFailure) as refused:
            await _read(client, f"{upstream.base}/a.ndjson")
    finally:
        await client.close()
    assert refused.value.kind == kind


async def test_announcements_without_an_answer_are_not_waited_for_without_end() -> None:
    async def announce(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    server = await asyncio.start_server(announce, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"
    client = ExportUpstream(base, timeout=0.2)
    try:
        with pytest.raises(UpstreamFailure) as slow:
            async with asyncio.timeout(5):
                await _read(client, f"{base}/a.ndjson")
    finally:
        await client.close()
        server.close()
    assert slow.value.kind == "timeout"


async def test_a_file_of_nothing_holds_nobody_up(
    both: tuple[Upstream, Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes may be packed of a thousand times as many empty lines."""
    monkeypatch.setattr("fhir.export.stream.GATHER_SECONDS", 0)  # so that each look is seen
    upstream, _ = both
    client = ExportUpstream(upstream.base)
    packed = gzip.compress(b"\n" * 20_000_000 + LINE, 9)
    upstream.answer = lambda _: whole(packed, "200 OK", "Content-Encoding: gzip")
    try:
        found = [batch async for batch in batches(client, "Patient", [f"{upstream.base}/a.ndjson"], 1_000)]
    finally:
        await client.close()
    assert len(found) > 100  # after each of which it is asked whether the download may go on
    assert [line for batch in found for line in batch] == [LINE.strip()]


async def test_a_time_is_told_in_ascii(both: tuple[Upstream, Upstream]) -> None:
    upstream, _ = both
    client = ExportUpstream(upstream.base)
    told = (MANIFEST % f"{upstream.base}/a.ndjson").replace("2026-01", "\u0662\u0660\u0662\u0666-01")
    upstream.answer = lambda _: whole(told.encode(), kind="application/json")
    try:
        with pytest.raises(ExportFailed):
            await client.status(f"{upstream.base}/jobs/1")
    finally:
        await client.close()


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
