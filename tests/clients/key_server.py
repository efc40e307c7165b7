"""A client's web server with its keys, over real HTTP: it answers as the test says, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class KeyServer:
    """What it says and what it was asked. The port is on the loopback interface."""

    port: int = 0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Request line and headers (names in small letters) of every request."""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: str = "200 OK"
    raw: bytes | None = None
    """In place of all the above."""
    delay: float = 0.0
    """Seconds before it answers."""
    hang: bool = False
    """It doesn't end its answer."""

    @property
    def url(self) -> str:
        """Where its keys are."""
        return f"http://127.0.0.1:{self.port}/jwks"

    def serve(self, keys: Sequence[Mapping[str, Any]], **headers: str) -> None:
        """From now on answer this set; `cache_control="no-store"` is the header Cache-Control."""
        self.body = json.dumps({"keys": list(keys)}).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.status, self.raw = "200 OK", None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
            self.asked.append((line, headers))
            await asyncio.sleep(self.delay)
            writer.write(self.raw if self.raw is not None else self._whole(headers))
            await writer.drain()
            if self.hang:
                await asyncio.sleep(60)
        writer.close()

    def _whole(self, asked: Mapping[str, str]) -> bytes:
        etag = {name.lower(): value for name, value in self.headers.items()}.get("etag")
        unchanged = etag is not None and asked.get("if-none-match") == etag
        body, status = (b"", "304 Not Modified") if unchanged else (self.body, self.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def key_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """A server on a free port of the loopback interface."""
    found = KeyServer()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await found._answer(reader, writer)
        writer.close()
        tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
