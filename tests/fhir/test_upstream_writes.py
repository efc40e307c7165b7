"""What is written is sent once, on a connection of its own: whether it was done is never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fhir.upstream.client import UpstreamClient, UpstreamFailure
from fhir.upstream.writes import UpstreamWrites, Written
from tests.fhir.test_upstream_client import Upstream, client_of, whole

BODY = b'{"resourceType":"Observation","id":"o1"}'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    server = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await server.wait_closed()


async def _written(client: UpstreamClient, method: str) -> Written:
    writes = UpstreamWrites(client)
    if method == "POST":
        return await writes.create("Observation", BODY)
    return await (
        writes.delete("Observation/o1", "1") if method == "DELETE" else writes.update("Observation/o1", "1", BODY)
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"nonsense\r\n\r\n"])
async def test_a_write_whose_answer_is_lost_is_not_sent_again(upstream: Upstream, method: str, answer: bytes) -> None:
    """It may have been done: sent again it would fail at its own version, and be told and recorded as not done."""
    upstream.answer = lambda _: answer
    async with client_of(upstream.base) as client:
        with pytest.raises(UpstreamFailure) as failure:
            await _written(client, method)
    assert failure.value.kind == "unreachable"
    assert [request.split(" ")[0] for request in upstream.requests] == [method]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_what_follows_the_answer_to_a_write_answers_nothing(method: str) -> None:
    asked: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                asked[-1] += 1
                said = whole(b"", "201 Created", "Location: /Observation/o1").replace(b"Connection: close\r\n", b"")
                writer.write(said if method == "POST" else said.replace(b"201 Created", b"200 OK"))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir") as client:
        assert [(await _written(client, method)).outcome for _ in range(3)] == ["done"] * 3
    assert asked == [1, 1, 1]
    server.close()
