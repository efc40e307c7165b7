"""Connections to an upstream are used again, and never hand one request's answer to another."""

from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from yarl import URL

from fhir.upstream.client import UpstreamClient
from fhir.upstream.connections import Connections
from fhir.upstream.exchange import MOST_HEAD, Exchange
from fhir.upstream.failure import UpstreamFailure
from tests.authz.certificates import Certificate
from tests.waiting import soon

ONE, TWO = b'{"resourceType":"Patient","id":"p1"}', b'{"resourceType":"Patient","id":"p2"}'
MOST = 100_000


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/fhir+json", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Keeps its connections open, and answers the requests of each by what `answers` gives for it; None: it closes."""

    def __init__(self) -> None:
        self.connections: list[int] = []
        """How many requests came on each."""
        self.answers: Callable[[int, int], bytes | None] = lambda connection, request: whole(ONE)
        self.pause = 0.0
        self.unasked = b""
        """What follows a moment after each answer."""
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(0)
        mine = len(self.connections) - 1
        self.open.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.connections[mine] += 1
                await asyncio.sleep(self.pause)
                answer = self.answers(mine, self.connections[mine])
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if self.unasked:
                    await asyncio.sleep(0.02)
                    writer.write(self.unasked)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side had enough
        finally:
            self.open.discard(writer)
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    listening = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    yield found
    listening.close()
    for writer in found.open:
        writer.close()


@asynccontextmanager
async def connected(server: Server, *, most: int = 4, kept: float = 15.0) -> AsyncIterator[Connections]:
    found = Connections(URL(f"http://127.0.0.1:{server.port}"), most=most, connect_timeout=2, kept=kept)
    try:
        yield found
    finally:
        await found.close()


async def ask(connections: Connections, target: str = "/fhir/Patient/p1") -> Exchange:
    async with asyncio.timeout(5):
        return await connections.get(target, None, MOST)


async def test_requests_one_after_another_share_a_connection(server: Server) -> None:
    async with connected(server) as connections:
        assert [(await ask(connections)).body for _ in range(3)] == [ONE] * 3
    assert server.connections == [3]


async def test_requests_at_once_have_one_each_and_no_more_than_are_allowed(server: Server) -> None:
    server.pause = 0.05
    async with connected(server, most=2) as connections:
        found = await asyncio.gather(*(ask(connections) for _ in range(6)))
    assert [answer.body for answer in found] == [ONE] * 6
    assert server.connections == [3, 3]


async def test_what_is_not_there_leaves_the_connection_open(server: Server) -> None:
    server.answers = lambda _, request: whole(b"{}", status="404 Not Found") if request == 1 else whole(ONE)
    async with connected(server) as connections:
        absent, found = await ask(connections), await ask(connections)
    assert (absent.status, absent.body, found.body) == (404, b"", ONE)
    assert server.connections == [2]


async def test_one_that_was_closed_while_it_waited_is_replaced_and_the_request_repeated(server: Server) -> None:
    server.answers = lambda connection, request: whole(ONE) if connection or request == 1 else None
    async with connected(server) as connections:
        assert [(await ask(connections)).body for _ in range(2)] == [ONE, ONE]
    assert server.connections == [2, 1]


async def test_a_server_that_closes_every_connection_is_asked_once_on_a_new_one(server: Server) -> None:
    server.answers = lambda connection, request: whole(ONE) if (connection, request) == (0, 1) else None
    async with connected(server) as connections:
        await ask(connections)
        with pytest.raises(UpstreamFailure) as failure:
            await ask(connections)
    assert failure.value.kind == "unreachable"
    assert server.connections == [2, 1]


async def test_an_answer_that_was_cut_is_not_asked_for_again(server: Server) -> None:
    server.answers = lambda _, request: whole(ONE) if request == 1 else whole(ONE)[:-5]
    async with connected(server) as connections:
        await ask(connections)
        waiting = asyncio.create_task(ask(connections))
        await asyncio.sleep(0.05)
        for writer in server.open:
            writer.close()
        with pytest.raises(UpstreamFailure) as failure:
            await waiting
    assert failure.value.kind == "truncated"
    assert server.connections == [2]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(whole(ONE) + whole(TWO), id="two answers at once"),
        pytest.param(whole(ONE) + b"HTTP/1.1 2", id="the beginning of another"),
        pytest.param(whole(ONE) + b"hello", id="something else behind it"),
        pytest.param(whole(ONE, "Connection: close"), id="the last one"),
        pytest.param(whole(ONE).replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    ],
)
async def test_a_connection_that_is_not_where_it_was_is_not_used_again(server: Server, answer: bytes) -> None:
    server.answers = lambda _, __: answer
    async with connected(server) as connections:
        assert [(await ask(connections)).body for _ in range(2)] == [ONE, ONE]
    assert server.connections == [1, 1]


async def test_an_answer_to_nothing_is_never_the_next_ones(server: Server) -> None:
    server.unasked = whole(TWO)
    async with connected(server) as connections:
        for _ in range(3):
            assert (await ask(connections)).body == ONE
            await asyncio.sleep(0.1)
    assert server.connections == [1, 1, 1]


async def test_who_gives_up_waiting_leaves_no_answer_for_the_next(server: Server) -> None:
    server.answers = lambda connection, _: whole(TWO if connection else ONE)
    server.pause = 0.1
    async with connected(server) as connections:
        waiting = asyncio.create_task(ask(connections))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await ask(connections)).body == TWO
    assert server.connections == [1, 1]


async def test_one_that_waited_long_is_closed(server: Server) -> None:
    async with connected(server, kept=0.05) as connections:
        await ask(connections)
        await asyncio.sleep(0.2)
        assert not server.open
        await ask(connections)
    assert server.connections == [1, 1]


async def test_what_was_read_is_let_go_of_without_collecting_garbage(server: Server) -> None:
    gc.collect()
    gc.disable()
    try:
        async with connected(server) as connections:
            for _ in range(5):
                await ask(connections)
        assert not [found for found in gc.get_objects() if isinstance(found, Exchange)]
    finally:
        gc.enable()


async def test_closing_ends_what_waits_and_what_is_asked(server: Server) -> None:
    server.pause = 5
    async with connected(server) as connections:
        waiting = asyncio.create_task(ask(connections))
        await asyncio.sleep(0.05)
    with pytest.raises(UpstreamFailure):
        await waiting


async def test_who_asked_before_the_end_opens_no_connection_after_it(server: Server) -> None:
    async with connected(server) as connections:
        assert (await ask(connections)).body == ONE
        server.pause = 5
        waiting = asyncio.create_task(ask(connections))  # on the connection that is there: its end is no answer at all

        async def is_asked() -> bool:
            return server.connections == [2]

        assert await soon(is_asked)
    with pytest.raises(UpstreamFailure):
        await waiting
    with pytest.raises(UpstreamFailure):
        await ask(connections)
    assert server.connections == [2]


async def test_announcements_before_an_answer_are_passed_over(server: Server) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Type: text/html\r\n\r\n"
    server.answers = lambda _, __: b"HTTP/1.1 100 Continue\r\n\r\n" + early + whole(ONE)
    async with connected(server) as connections:
        assert [(await ask(connections)).body for _ in range(2)] == [ONE, ONE]
    assert server.connections == [2]


def chunked(*headers: str, behind: str = "") -> bytes:
    head = ("HTTP/1.1 200 OK", "Content-Type: application/fhir+json", "Transfer-Encoding: chunked", *headers, "", "")
    return "\r\n".join(head).encode() + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(ONE), ONE, behind.encode())


async def test_what_comes_behind_the_body_is_no_header(server: Server) -> None:
    server.answers = lambda _, __: chunked(behind="Content-Type: text/html\r\nContent-Encoding: gzip\r\n")
    async with connected(server) as connections:
        found = [await ask(connections) for _ in range(2)]
    assert [(answer.body, answer.content_type) for answer in found] == [(ONE, "application/fhir+json")] * 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(chunked(f"Content-Length: {len(ONE)}"), id="a length and chunks"),
        pytest.param(whole(ONE, "Content-Length: 5"), id="two lengths"),
        pytest.param(whole(ONE, "Transfer-Encoding: gzip"), id="a coding that ends with the connection, and a length"),
        pytest.param(whole(ONE, "Bad Name: x"), id="a header's name with a space"),
        pytest.param(whole(ONE).replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(whole(ONE).replace(b": 36", b": +36"), id="a length with a sign"),
        pytest.param(whole(ONE, "X: " + "x" * 20 * MOST_HEAD), id="a huge head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, id="announcements without end"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="another protocol"),
        pytest.param(whole(ONE, "Content-Type: text/html"), id="two types"),
        pytest.param(
            whole(ONE, "Content-Type: text/html").replace(b"json", b"json; charset=utf-8"),
            id="two types, one with more",
        ),
        pytest.param(chunked("Transfer-Encoding: chunked"), id="chunks twice"),
        pytest.param(chunked().replace(b": chunked", b": identity"), id="a coding whose end can't be told"),
        pytest.param(whole(ONE, status="000 OK"), id="a status that is none"),
        pytest.param(whole(ONE, "Content-Encoding: gzip", "Content-Encoding: identity"), id="two encodings"),
    ],
)
async def test_what_can_be_read_in_two_ways_is_no_answer(server: Server, answer: bytes) -> None:
    server.answers = lambda _, __: answer
    async with connected(server) as connections:
        with pytest.raises(UpstreamFailure) as failure:
            await ask(connections)
    assert failure.value.kind in ("not-fhir", "bad-status")
    assert "Patient" not in str(failure.value)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(chunked()[:-2] + b"X: ", id="a header behind the body"),
        pytest.param(chunked().replace(b"\r\n\r\n24", b"\r\n\r\n24;x=").partition(ONE)[0][:-2], id="beside a chunk"),
    ],
)
async def test_what_is_not_content_is_bounded_within_and_behind_a_body_too(server: Server, begun: bytes) -> None:
    server.answers = lambda _, __: begun + b"x" * 20 * MOST_HEAD
    async with connected(server) as connections:
        with pytest.raises(UpstreamFailure) as failure:
            await ask(connections)
    assert failure.value.kind == "not-fhir"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(whole(ONE).replace(b": 36", b": 35"), id="a length that is too short"),
        pytest.param(whole(gzip.compress(ONE)[:-3], "Content-Encoding: gzip"), id="compressed, and cut"),
        pytest.param(whole(b"<html></html>"), id="something else"),
    ],
)
async def test_what_follows_a_body_that_was_not_whole_is_nobodys_answer(server: Server, answer: bytes) -> None:
    """A server that counts characters for bytes sends the rest of a body where the next answer would begin."""
    server.answers = lambda connection, _: whole(ONE) if connection else answer
    async with connected(server) as connections:
        with pytest.raises(UpstreamFailure):
            await ask(connections)
        assert (await ask(connections)).body == ONE
    assert server.connections == [1, 1]


@pytest.mark.parametrize("target", ["/fhir/Patient/p1\r\nX: y", "/fhir/Patient p1", "/fhir/Pätient", "", "/fhir\x00"])
async def test_a_target_of_more_than_one_word_is_not_asked(server: Server, target: str) -> None:
    async with connected(server) as connections:
        with pytest.raises(ValueError, match="not one line"):
            await ask(connections, target)
        with pytest.raises(ValueError, match="not one line"):
            await connections.get("/fhir/Patient/p1", "Bearer x\r\nX: y", MOST)
    assert server.connections == []


@pytest.mark.parametrize(("name", "reached"), [("localhost", True), ("elsewhere.example", False)])
async def test_an_encrypted_upstream_must_be_who_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server, name: str, reached: bool
) -> None:
    certificate = Certificate.new(name)
    public, both = tmp_path / "public.pem", tmp_path / "both.pem"
    public.write_bytes(certificate.pem)
    both.write_bytes(certificate.pem + certificate.private)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)
    client = UpstreamClient(f"https://localhost:{listening.sockets[0].getsockname()[1]}/fhir")
    try:
        if reached:
            assert [(await client.get("Patient/p1", ())).body for _ in range(2)] == [ONE, ONE]
            assert server.connections == [2]
        else:
            with pytest.raises(UpstreamFailure) as failure:
                await client.get("Patient/p1", ())
            assert failure.value.kind == "unreachable"
            assert "localhost" not in str(failure.value)
    finally:
        await client.close()
        listening.close()


def test_a_connection_that_ended_before_it_was_asked_is_unreachable() -> None:
    async def ended() -> None:
        server = Server()
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.port = listening.sockets[0].getsockname()[1]
        async with connected(server) as connections:
            connection = await connections._opened()
            connection.abort()
            await asyncio.sleep(0.05)
            exchange = connection.begin(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", MOST)
            with pytest.raises(UpstreamFailure) as failure:
                async with asyncio.timeout(5):
                    await connection.until_done(exchange)
            assert failure.value.kind == "unreachable"
        listening.close()

    uvloop.run(ended())


def test_it_does_so_on_the_loop_that_serves() -> None:
    async def reuse() -> None:
        server = Server()
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.port = listening.sockets[0].getsockname()[1]
        async with connected(server) as connections:
            assert [(await ask(connections)).body for _ in range(3)] == [ONE] * 3
            server.answers = lambda connection, _: whole(TWO) if connection else None
            assert (await ask(connections)).body == TWO
        assert server.connections == [4, 1]
        listening.close()

    uvloop.run(reuse())
