"""How a service exports, and an upstream whose exports say whatever a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from assent.server import listen, serving
from fhir.proxy.responses import Receive, Scope, Send
from tests.leaks.world import ISSUER, App, World

ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}


async def kick_off(app: App, path: str = "$export", **headers: str) -> httpx.Response:
    """Begin an export."""
    return await app.get(path, **{**ASYNC, **headers})


async def ask(app: App, method: str, url: str, **more: Any) -> httpx.Response:
    """Any request with the app's token."""
    headers = {"Authorization": f"Bearer {app.token['access_token']}", **more.pop("headers", {})}
    return await app.world.http.request(method, url, headers=headers, **more)


async def begun(app: App, path: str = "$export") -> str:
    """The URL of a new job."""
    answer = await kick_off(app, path)
    assert answer.status_code == 202, answer.text
    return answer.headers["content-location"]


async def manifest_of(app: App, job: str) -> dict[str, Any]:
    """What the job made, once it is done."""
    for _ in range(20):
        answer = await app.get(job)
        if answer.status_code == 200:
            return dict(answer.json())
        assert answer.status_code == 202, answer.text
    raise AssertionError("the export doesn't end")


async def files_of(app: App, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Each file, by its type."""
    found = {}
    for file in manifest["output"]:
        answer = await app.get(file["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+ndjson"), answer.text
        found[file["type"]] = answer.content
    return found


async def exported(app: App, path: str = "$export") -> dict[str, bytes]:
    """A whole export."""
    return await files_of(app, await manifest_of(app, await begun(app, path)))


def ids(content: bytes) -> list[str]:
    """Ids of the resources in a file."""
    assert content == b"" or content.endswith(b"\n")
    return [json.loads(line)["id"] for line in content.split(b"\n")[:-1]]


@dataclass(slots=True)
class FalseExport:
    """What the upstream says instead of its own export."""

    url: str
    manifest: bytes = b""
    status: int = 200
    status_headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)
    pieces: Sequence[bytes | asyncio.Event] = ()
    """Of its one file, in chunks; it waits for an event."""
    file_status: int = 200
    file_headers: Sequence[tuple[bytes, bytes]] = ()
    heard: list[str] = field(default_factory=list)

    def names(self, *urls: str, kind: str = "Observation") -> None:
        """Make a manifest of these URLs."""
        output = [{"type": kind, "url": url} for url in urls or (f"{self.url}/false/file",)]
        self.manifest = json.dumps({"transactionTime": "2026-01-02T03:04:05.678Z", "output": output}).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        path = scope["path"]
        self.heard.append(f"{scope['method']} {path}")
        if path.endswith("$export"):
            await _say(send, 202, [(b"content-location", f"{self.url}/false/status".encode())])
        elif path == "/false/status":
            await _say(send, self.status, self.status_headers, self.manifest)
        else:
            await send({"type": "http.response.start", "status": self.file_status, "headers": [*self.file_headers]})
            for piece in self.pieces:
                if isinstance(piece, bytes):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                else:
                    await piece.wait()
            await send({"type": "http.response.body", "body": b""})


async def _say(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes = b"") -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def false_export(world: World) -> Iterator[FalseExport]:
    """While the block runs, the upstream's exports are false."""
    false = FalseExport(world.upstream.url)
    paths = ("/$export", "/false/status", "/false/file")
    for path in paths:
        world.upstream.acts[path] = false
    try:
        yield false
    finally:
        for path in paths:
            del world.upstream.acts[path]


@asynccontextmanager
async def served(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The server over a socket: whether an answer ends can be seen only there."""
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(world.assent.asgi, listener), httpx.AsyncClient(base_url=address, timeout=20) as client:
        yield client


def below(url: str) -> str:
    """The URL without the issuer's address."""
    assert url.startswith(f"{ISSUER}/fhir/")
    return url.removeprefix(ISSUER)
