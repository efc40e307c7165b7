"""Has the upstream export (HL7 Bulk Data Access), and believes nothing of what it says but what is checked here.

Links lead below its base, or to hosts that the operator named, which get none of our credentials. Redirects aren't
followed. Texts of the upstream go nowhere (docs/leaks.md L41, L71).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from fhir.export.jobs import Finished, UpstreamFile
from fhir.export.lines import BrokenExport
from fhir.r4.strict_json import check_once
from fhir.upstream.credentials import Credentials, NoCredentials
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.links import link_below, link_to_host

NDJSON: Final = "application/fhir+ndjson"
MAX_MANIFEST: Final = 4 * 1024 * 1024
_JSON: Final = {"Accept": "application/fhir+json, application/json", "Accept-Encoding": "identity"}
_FILE: Final = {"Accept": NDJSON, "Accept-Encoding": "gzip"}
_AGENT: Final = {"User-Agent": "Assent"}
_LATER: Final = frozenset({429, 502, 503, 504})
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class ExportFailed(Exception):
    """The upstream gave up, or says what can't be believed: no more is to be had of this job."""


class _Manifest(msgspec.Struct):
    transactionTime: str  # noqa: N815  # the specification's own spelling
    output: list[UpstreamFile]


@dataclass(frozen=True, slots=True)
class _Link:
    """An address that was checked."""

    url: URL
    own: bool
    """Below the base: only there our credentials are sent."""


class OpenFile:
    """A file of the upstream while it is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        """Raises UpstreamFailure for one whose end couldn't be told, or that can be read in two ways."""
        encoding = _said(response, "Content-Encoding") or "identity"
        transfer = _said(response, "Transfer-Encoding")
        if encoding not in ("gzip", "identity") or transfer not in ("", "chunked"):
            raise UpstreamFailure("not-fhir", status=200)
        self._response = response
        self.gzip: Final = encoding == "gzip"
        if not (self.gzip or transfer or "Content-Length" in response.headers):
            raise UpstreamFailure("truncated", status=200)  # nothing would tell its end from a broken connection

    async def read(self) -> bytes:
        """What has arrived, at least a byte; nothing at the end of the file. Raises BrokenExport."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError):  # timeouts are among them
            raise BrokenExport("cut-short") from None


class ExportUpstream:
    """The upstream's bulk exports. Connections are opened when first used, in the event loop that uses them."""

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        hosts: Collection[str] = (),
        timeout: float = 15.0,
        connections: int = 16,
    ) -> None:
        """`hosts` may serve files too; `timeout` in seconds: for an answer, and for each silence within a file."""
        self._base = URL(base_url.rstrip("/"))
        self._credentials: Credentials = credentials or NoCredentials()
        self._hosts = frozenset(hosts)
        self._answer = aiohttp.ClientTimeout(total=timeout, sock_connect=min(3.0, timeout))
        self._stream = aiohttp.ClientTimeout(total=None, sock_connect=min(3.0, timeout), sock_read=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def begin(self, path: str, parameters: Sequence[tuple[str, str]]) -> str:
        """Begin an export at a path below the base (`Group/g/$export`); the URL at which it is asked for.

        Raises UpstreamFailure.
        """
        link = _Link(URL(f"{self._base}/{path}?{urlencode(parameters)}", encoded=True), own=True)
        headers = {**_JSON, "Prefer": "respond-async"}
        async with self._asked("GET", link, headers, self._answer) as response:
            if response.status != 202:
                raise UpstreamFailure("bad-status", status=response.status)
            status_url = response.headers.get("Content-Location", "")
        self._link(status_url)
        return status_url

    async def status(self, status_url: str) -> Finished | None:
        """The files of an export; None while it is under way. Raises ExportFailed and UpstreamFailure."""
        async with self._asked("GET", self._link(status_url), _JSON, self._answer) as response:
            if response.status == 202 or response.status == 429:
                return None
            if response.status in _LATER:
                raise UpstreamFailure("bad-status", status=response.status)
            if response.status != 200:
                raise ExportFailed
            body = await _bounded(response)
        try:
            return self._believed(body)
        except (UpstreamFailure, msgspec.DecodeError, RecursionError):
            raise ExportFailed from None  # it may hold the body

    async def cancel(self, status_url: str) -> None:
        """Tell the upstream to forget an export. Raises UpstreamFailure."""
        async with self._asked("DELETE", self._link(status_url), _JSON, self._answer) as response:
            if response.status not in (200, 202, 204, 404, 410):
                raise UpstreamFailure("bad-status", status=response.status)

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[OpenFile]:
        """A file that the manifest named. Raises UpstreamFailure."""
        async with self._asked("GET", self._link(url), _FILE, self._stream) as response:
            if response.status != 200:
                raise UpstreamFailure("bad-status", status=response.status)
            yield OpenFile(response)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _believed(self, body: bytes) -> Finished:
        check_once(body)
        manifest = msgspec.json.decode(body, type=_Manifest)
        for file in manifest.output:
            self._link(file.url)
        if _INSTANT.fullmatch(manifest.transactionTime) is None:
            raise msgspec.DecodeError
        return Finished(manifest.transactionTime, tuple(manifest.output))

    def _link(self, url: str) -> _Link:
        try:
            return _Link(link_below(self._base, url), own=True)
        except UpstreamFailure:
            return _Link(link_to_host(self._base, url, self._hosts), own=False)

    @asynccontextmanager
    async def _asked(
        self, method: str, link: _Link, headers: Mapping[str, str], within: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._open_session()
        authorization = await self._credentials.authorization(session) if link.own else None
        response = await self._send(session, method, link.url, headers, authorization, within)
        if response.status == 401 and link.own and self._credentials.refused(authorization):
            response.close()
            authorization = await self._credentials.authorization(session)
            response = await self._send(session, method, link.url, headers, authorization, within)
        async with response:
            if 300 <= response.status < 400:
                raise UpstreamFailure("redirect", status=response.status)
            yield response

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        authorization: str | None,
        within: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        sent = {**_AGENT, **headers} if authorization is None else {**_AGENT, **headers, "Authorization": authorization}
        try:
            # Until the head is there: a file may take long, but what only announces an answer (1xx) may not.
            async with asyncio.timeout(self._answer.total):
                return await session.request(method, url, headers=sent, allow_redirects=False, timeout=within)
        except TimeoutError as slow:
            raise UpstreamFailure("timeout") from slow
        except (aiohttp.ClientError, OSError):
            raise UpstreamFailure("unreachable") from None  # their texts quote the URL

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=self._answer,
                auto_decompress=False,  # decompressed where the bounds are
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def _said(response: aiohttp.ClientResponse, name: str) -> str:
    """A header by which a body is read; empty for none."""
    return ",".join(response.headers.getall(name, ())).strip().lower()


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MAX_MANIFEST:
                raise ExportFailed
    except TimeoutError as slow:
        raise UpstreamFailure("timeout", status=200) from slow
    except (aiohttp.ClientError, OSError):
        raise UpstreamFailure("truncated", status=200) from None
    return bytes(body)
