"""Asks the upstream FHIR server, and believes nothing of its answer but what is checked here.

Reads and searches only (FHIR R4 §3.1.0), by GET; `fhir.upstream.writes` writes. An answer is whole, JSON and within
bounds or it is an UpstreamFailure; redirects aren't followed, and links lead nowhere but below the base
(docs/leaks.md).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from fhir.upstream.circuit_breaker import CircuitBreaker
from fhir.upstream.connections import Connections
from fhir.upstream.credentials import BackendServices, Basic, Bearer, Credentials, NoCredentials
from fhir.upstream.failure import FailureKind, UpstreamFailure
from fhir.upstream.links import link_below
from fhir.upstream.schema_drift import SchemaDrift

__all__ = [
    "BackendServices",
    "Basic",
    "Bearer",
    "Credentials",
    "FailureKind",
    "NoCredentials",
    "UpstreamAnswer",
    "UpstreamClient",
    "UpstreamFailure",
]

_TYPE: Final = r"[A-Z][A-Za-z]{1,63}"
_ID: Final = r"[A-Za-z0-9.-]{1,64}"
_PATH: Final = re.compile(rf"metadata|{_TYPE}(/{_ID}(/_history(/{_ID})?)?)?")
_MEBIBYTE: Final = 1024 * 1024
_Said = TypeVar("_Said")


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """Status 200 with its JSON, or 404 or 410 with an empty body."""

    status: int
    body: bytes


class UpstreamClient:
    """One upstream. Connections are opened when first used, in the event loop that uses them."""

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 3.0,
        max_body: int = 32 * _MEBIBYTE,
        connections: int = 64,
        breaker: CircuitBreaker | None = None,
        drift: SchemaDrift | None = None,
    ) -> None:
        """`timeout` in seconds for a whole answer, `connect_timeout` for a connection; `max_body` once decompressed."""
        self._base = URL(base_url.rstrip("/"))
        self._below = f"{self._base}/"
        self._path = self._base.raw_path.rstrip("/")
        self._seconds = timeout
        self._reading = Connections(self._base, most=connections, connect_timeout=connect_timeout)
        self._credentials: Credentials = credentials or NoCredentials()
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout)
        self._max_body = max_body
        self._connections = connections
        self.breaker: Final = breaker or CircuitBreaker()
        self.drift: Final = drift
        """What its resources look like; None where nobody looks."""
        self.outcomes: Final[Counter[str]] = Counter()
        """How often it answered (`answered`), and by which kind of failure it didn't."""
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, params: Sequence[tuple[str, str]]) -> UpstreamAnswer:
        """Read `Type/id` or `Type/id/_history/version`, list `Type/id/_history`, or search `Type`.

        Raises UpstreamFailure.
        """
        parts = path.split("/")
        if _PATH.fullmatch(path) is None or "." in parts or ".." in parts:
            raise ValueError("the path is no FHIR read, history or search")
        query = f"?{urlencode(params)}" if params else ""
        return await self._answer(f"{self._path}/{path}{query}")

    async def get_link(self, url: str) -> UpstreamAnswer:
        """Follow a link that the upstream gave. Raises UpstreamFailure, also when it leads outside of the base."""
        return await self._answer(link_below(self._base, url).raw_path_qs)

    def can_follow(self, url: str) -> bool:
        """Whether `get_link` would ask for it: it leads below the base."""
        try:
            link_below(self._base, url)
        except UpstreamFailure:
            return False
        return True

    def below(self, path: str) -> URL:
        """The address of a path below the base, `Observation/o1`, which the caller has checked."""
        return URL(f"{self._below}{path}", encoded=True)

    async def signed_in(self, attempt: Callable[[aiohttp.ClientSession, str | None], Awaitable[_Said]]) -> _Said:
        """Let `attempt` ask with an open session and the Authorization header; once more when that has expired.

        The breaker hears how it ended. Raises UpstreamFailure, also (`paused`) without asking.
        """
        try:
            with self.breaker.call():
                said = await self._signed_in(attempt)
        except UpstreamFailure as failure:
            self.outcomes[failure.kind] += 1
            raise
        self.outcomes["answered"] += 1
        return said

    async def _signed_in(self, attempt: Callable[[aiohttp.ClientSession, str | None], Awaitable[_Said]]) -> _Said:
        session = self._open_session()
        authorization = await self._credentials.authorization(session)
        try:
            return await attempt(session, authorization)
        except UpstreamFailure as failure:
            if failure.status != 401 or not self._credentials.refused(authorization):
                raise
        return await attempt(session, await self._credentials.authorization(session))

    async def close(self) -> None:
        """Close the connections."""
        await self._reading.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                # One for each request: what is written isn't sent where something else may be on its way.
                connector=aiohttp.TCPConnector(limit=self._connections, force_close=True),
                timeout=self._timeout,
                auto_decompress=False,  # nothing compressed is asked for
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _answer(self, target: str) -> UpstreamAnswer:
        return await self.signed_in(lambda _, authorization: self._attempt(target, authorization))

    async def _attempt(self, target: str, authorization: str | None) -> UpstreamAnswer:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._reading.get(target, authorization, self._max_body)
        except TimeoutError as slow:
            raise UpstreamFailure("timeout") from slow
        if answer.status != 200:
            return UpstreamAnswer(answer.status, b"")
        if self.drift is not None:
            self.drift.offer(answer.body, answer.content_type)
        return UpstreamAnswer(200, answer.body)
