"""The upstream of the leak tests: the built-in one over a socket. It notes what it is asked, and can be made to lie."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from sqlalchemy.ext.asyncio import AsyncEngine

from assent.progress import Progress
from assent.sandbox_mode.upstream import SCHEMA, Dataset, load_dataset
from assent.server import listen, serving
from fhir.proxy.responses import Message
from fhir.r4.definitions import load_definitions
from fhir.r4.operation_outcome import operation_outcome
from fhir.store.repository import Repository
from sandbox.upstream import ASGIApp, Receive, Scope, Send, upstream_app
from tests.leaks.manners import Links, Manner
from tests.waiting import soon

TOKEN: Final = "the-upstream's-own-token-of-the-leak-tests"  # noqa: S105  # of a server that lives for one test run
_MOST: Final = 10_000
"""Answers that are remembered."""
_REFERENCE: Final = re.compile(r'"reference": ?"([A-Z][A-Za-z]+/[A-Za-z0-9.-]+)"')
LOADED: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
"""When everything upstream was last updated, so that two worlds can be compared byte by byte."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it reached the upstream."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lie:
    """What the upstream says instead of the truth."""

    body: bytes
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/fhir+json"),)
    unless: str = ""
    """Part of a query that is answered truly; empty for none."""


@dataclass(slots=True)
class Upstream:
    """The running upstream."""

    url: str
    repository: Repository
    asked: list[Asked] = field(default_factory=list)
    lies: dict[str, Lie] = field(default_factory=dict)
    """By path, without the query."""
    told: dict[str, int] = field(default_factory=dict)
    """How often a lie is still told, where it isn't told always."""
    acts: dict[str, ASGIApp] = field(default_factory=dict)
    """Likewise: what answers in place of the upstream."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when what isn't answered needn't be waited for any more."""
    held: asyncio.Event | None = None
    """While it isn't set, nothing is answered."""
    remembered: dict[tuple[str, str], list[Message]] | None = None
    """Answers by method and target, while nothing here changes: the fuzzer asks the same again and again."""
    manner: Manner = field(default_factory=Manner)
    """How reads and searches are answered that nothing else is said to."""
    links: Links = field(default_factory=Links)
    failing: tuple[bytes, Lie | None] | None = None
    """What no answer to a read or search can be given with, and what is said instead; None for nothing at all."""
    always: Lie | None = None
    """What every read and search is told that isn't lied to otherwise."""
    refusing: Lie | None = None
    """What every write is told."""
    strict: bool = False
    """Whether what is written may refer only to what is there, as some servers demand."""

    async def write(self, versions: Sequence[Mapping[str, object] | str]) -> None:
        """The next versions of resources; `Type/id` deletes one."""
        for version in versions:
            if isinstance(version, str):
                await self.repository.delete(*version.split("/"))
            else:
                await self.repository.update(version, expected_version=None)

    @contextmanager
    def saying(
        self,
        path: str,
        body: bytes,
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        unless: str = "",
        times: int | None = None,
    ) -> Iterator[None]:
        """While the block runs, answer this path so; `unless` this stands in the query; so many `times` at most."""
        self.lies[path] = _lie(body, status, headers, unless)
        if times is not None:
            self.told[path] = times
        try:
            yield
        finally:
            self.lies.pop(path, None)
            self.told.pop(path, None)

    @contextmanager
    def failing_at(self, content: bytes, body: bytes | None, status: int = 200) -> Iterator[None]:
        """While the block runs, say this in place of every answer in which `content` stands; None: answer never."""
        self.failing = content, None if body is None else _lie(body, status, {})
        self.ended = asyncio.Event()
        try:
            yield
        finally:
            self.failing = None
            self.ended.set()

    @contextmanager
    def answering(self, manner: Manner) -> Iterator[None]:
        """While the block runs, answer in this manner."""
        self.manner = manner
        try:
            yield
        finally:
            self.manner = Manner()

    @contextmanager
    def saying_always(
        self, body: bytes, status: int, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[None]:
        """While the block runs, answer every read and search so."""
        self.always = _lie(body, status, headers)
        try:
            yield
        finally:
            self.always = None

    @contextmanager
    def failing_writes(self, status: int, body: bytes = b"{}") -> Iterator[None]:
        """While the block runs, answer every write so, and do none."""
        self.refusing = Lie(body, status)
        try:
            yield
        finally:
            self.refusing = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """While the block runs, take requests and answer none."""
        self.held = asyncio.Event()
        try:
            yield
        finally:
            self.held.set()
            self.held = None

    async def was_asked(self, since: int) -> bool:
        """Whether more than `since` requests came, or come soon."""

        async def more() -> bool:
            return len(self.asked) > since

        return await soon(more)

    @contextmanager
    def listening(self) -> Iterator[list[Asked]]:
        """What is asked while the block runs."""
        begun = len(self.asked)
        heard: list[Asked] = []
        yield heard
        heard.extend(self.asked[begun:])

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, overheard."""

        async def overheard(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            query = scope["query_string"].decode()
            headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            path = scope["raw_path"].decode()
            self.asked.append(Asked(scope["method"], f"{path}?{query}" if query else path, headers))
            if path in self.acts:
                await self.acts[path](scope, receive, send)
                return
            if self.held is not None:
                await self.held.wait()
            lie = self.lies.get(path, self.always) if scope["method"] == "GET" else self.refusing
            if lie is not None and lie.unless and lie.unless in query:
                lie = None
            if lie is not None and path in self.told:
                self.told[path] -= 1
                lie = lie if self.told[path] >= 0 else None
            if self.strict and scope["method"] in ("POST", "PUT"):
                body = (await receive())["body"]
                receive = _again(body)
                lie = lie or await self._dangling(body)
            if lie is None and self.failing is not None and scope["method"] == "GET":
                await self._failing(app, scope, receive, send)
                return
            if lie is None:
                await self._mannered(app, scope, receive, send)
                return
            await send({"type": "http.response.start", "status": lie.status, "headers": list(lie.headers)})
            await send({"type": "http.response.body", "body": lie.body})

        return overheard

    async def _dangling(self, body: bytes) -> Lie | None:
        for name in _REFERENCE.findall(body.decode()):
            found = await self.repository.read(*name.split("/"))
            if found is None or found.deleted:
                return Lie(operation_outcome("not-found", f"{name} is not known"), 422)
        return None

    async def _failing(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        told: list[Message] = []

        async def note(message: Message) -> None:
            told.append(message)

        content, lie = self.failing or (b"", None)
        await app(scope, receive, note)
        if not any(content in message.get("body", b"") for message in told):
            for message in told:
                await send(message)
            return
        if lie is None:
            await self.ended.wait()
            return
        await send({"type": "http.response.start", "status": lie.status, "headers": list(lie.headers)})
        await send({"type": "http.response.body", "body": lie.body})

    async def _mannered(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self.manner == Manner() or scope["method"] != "GET":
            await self._truth(app, scope, receive, send)
            return
        told: list[Message] = []

        async def note(message: Message) -> None:
            told.append(message)

        target = self.manner.meant(self.asked[-1].target, self.links)
        self.asked[-1] = replace(self.asked[-1], target=target)
        path, _, query = target.partition("?")
        meant = {"path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}
        await self._truth(app, {**scope, **meant}, receive, note)
        whole = b"".join(message.get("body", b"") for message in told)
        status, body = self.manner.told(target, told[0]["status"], whole, self.links)
        headers = [(b"content-type", b"application/fhir+json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _truth(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self.remembered is None:
            await app(scope, receive, send)
            return
        asked = (scope["method"], self.asked.pop().target)
        if asked not in self.remembered:
            if len(self.remembered) > _MOST:
                self.remembered.clear()
            told: list[Message] = []

            async def note(message: Message) -> None:
                told.append(message)

            await app(scope, receive, note)
            self.remembered[asked] = told
        for message in self.remembered[asked]:
            await send(message)


def _lie(body: bytes, status: int, headers: Mapping[str, str], unless: str = "") -> Lie:
    given = {"content-type": "application/fhir+json", **headers}
    return Lie(body, status, [(name.encode(), value.encode()) for name, value in given.items()], unless)


def _again(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


@asynccontextmanager
async def overheard_upstream(engine: AsyncEngine, dataset: Dataset) -> AsyncIterator[Upstream]:
    """Load the dataset and serve it while the block runs."""
    repository = Repository(engine, load_definitions(), schema=SCHEMA, clock=lambda: LOADED)
    await load_dataset(engine, repository, dataset, Progress(lambda _: None))
    listener = listen("127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{listener.getsockname()[1]}", repository)
    app = upstream_app(repository, base_url=upstream.url, bearer_token=TOKEN)
    async with serving(upstream.around(app), listener):
        yield upstream
