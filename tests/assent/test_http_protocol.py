"""What arrives on a connection, byte by byte: no header after the body, nothing without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from assent import http_protocol
from assent.asgi import Receive, Scope, Send
from assent.server import listen, serving

HEAD = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CHUNKS = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"


async def _tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the headers and the size of the body, or not at all when the client goes."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    told = {"headers": [name.decode() for name, _ in scope["headers"]], "size": size}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    listener = listen("127.0.0.1", 0)
    async with serving(_tell, listener):
        yield listener.getsockname()[1]


async def _answer(port: int, *pieces: str, pause: float = 0.0) -> bytes:
    """All that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece.encode())
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b"closed"
    finally:
        writer.close()


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.leak("L72")
@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("name", ["Authorization", "X-Forwarded-For", "Client-Cert", "Content-Type"])
async def test_l72_a_field_after_the_body_is_no_header(port: int, name: str, pause: float) -> None:
    answer = await _answer(port, f"{HEAD}Trailer: {name}\r\n{CHUNKS}", f"{name}: x\r\n\r\n", pause=pause)
    assert _status(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1]) == {
        "headers": ["host", "connection", "trailer", "transfer-encoding"],
        "size": 3,
    }


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        f"{HEAD}Transfer-Encoding: gzip, {CHUNKS.removeprefix('Transfer-Encoding: ')}",
        f"{HEAD}Transfer-Encoding: gzip\r\n{CHUNKS}",
        f"{HEAD}Content-Length: 3\r\n{CHUNKS}",
        f"{HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(port: int, request_text: str) -> None:
    assert _status(await _answer(port, f"{request_text}\r\n")) == 400


@pytest.mark.leak("L75")
@pytest.mark.parametrize(
    "beginning",
    [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX: ",
        "GET /",
        f"{HEAD}{CHUNKS}X: ",
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n3;",
    ],
)
async def test_l75_headers_without_end_are_refused(port: int, beginning: str) -> None:
    filler = "x" * 8_000 if beginning.endswith((" ", "/", ";")) else f"X: {'x' * 8_000}\r\n"
    answer = await _answer(port, beginning, *[filler] * 100, pause=0.001)
    assert answer == b"closed" or _status(answer) == 400


@pytest.mark.leak("L75")
@pytest.mark.parametrize(
    "beginning", ["", "\r\n", "GET /", "GET / HTTP/1.1\r\nX: ", f"{HEAD}Content-Length: 100\r\n\r\nx"]
)
async def test_l75_a_request_that_does_not_arrive_ends_its_connection(
    port: int, beginning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "WHOLE_SECONDS", 0.3)
    assert await _answer(port, beginning, *beginning[-1:] * 4, pause=0.1) in (b"", b"closed")


async def test_an_answer_that_takes_long_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "WHOLE_SECONDS", 0.1)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.4)
        await _tell(scope, receive, send)

    listener = listen("127.0.0.1", 0)
    async with serving(slow, listener):
        for following in ("", "GET /"):
            answer = await _answer(listener.getsockname()[1], f"{HEAD}Content-Length: 1\r\n\r\nx{following}")
            assert b'"size": 1' in answer


@pytest.mark.leak("L72")
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "foo"])
async def test_l72_what_follows_an_upgrade_that_is_refused_gets_no_answer_of_another_request(
    port: int, protocol: str
) -> None:
    upgrade = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    thrown_away = "GET / HTTP/1.1\r\nHost: x\r\nX-Second: x\r\n\r\n"
    answer = await _answer(port, upgrade + thrown_away, "GET / HTTP/1.1\r\nHost: x\r\nX-Third: x\r\n\r\n", pause=0.1)
    assert _status(answer) == 200
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
