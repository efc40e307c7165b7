"""Where resources come from: an upstream FHIR server, or Assent's own store. The proxy treats both alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import msgspec
import structlog

from fhir.search.query import CURSOR, parse_search
from fhir.store.repository import MAX_VERSION, Repository, StoredResource
from fhir.upstream.client import UpstreamClient
from fhir.upstream.failure import UpstreamFailure

_log: Final = structlog.get_logger(__name__)
_MAX_PAGE: Final = 500
FORBIDDEN: Final = 403
_BEFORE: Final = "_before"
"""In a history's next link: the version where the page before ended."""

Settle = Callable[[str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source is."""

    name: str
    """The operator's name for it."""
    base: str = ""
    """FHIR base URL without a trailing slash; empty for Assent's own store."""

    @property
    def mark(self) -> str:
        """Tells places apart in what is sealed: a page link of one isn't opened at another (docs/leaks.md L22)."""
        return sha256(f"{self.name} {self.base}".encode()).hexdigest()[:16]


class Source(Protocol):
    """Something that answers FHIR reads and searches with FHIR JSON."""

    @property
    def place(self) -> Place:
        """Where it is."""

    async def read(self, resource_type: str, resource_id: str, version: str) -> bytes | None:
        """One resource (`version` empty: the current one); None when there is none, or no more."""

    async def page(self, url: str) -> bytes:
        """One page of a search or a history: `Type?query` or `Type/id/_history?query`, or what a `next` link said."""


class FailsAtOne(Exception):
    """The upstream fails at one resource, and answers for others."""


async def read_if_given(source: Source, resource_type: str, resource_id: str, version: str) -> bytes | None:
    """As `source.read`; what the upstream can't or won't give is, like what isn't there, none (docs/leaks.md L06).

    Whoever asks can't be told why: it may be what is withheld from them. The log and the metrics say it.
    """
    try:
        return await source.read(resource_type, resource_id, version)
    except UpstreamFailure as failure:
        if failure.status != FORBIDDEN:
            with suppress(FailsAtOne):
                return await read_after_failure(source, resource_type, resource_id, version, failure)
        _log.warning("upstream_fails_at_one", type=resource_type, kind=failure.kind, status=failure.status)
    return None


async def read_after_failure(
    source: Source, resource_type: str, resource_id: str, version: str, failure: UpstreamFailure
) -> bytes | None:
    """As `source.read`, once more: what failed for a moment isn't absent.

    Before, one of an id that nobody has is read. Raises UpstreamFailure when that fails: the server itself is at fault,
    for everybody and whatever is there. Raises FailsAtOne when it doesn't, and what was asked for fails again. It takes
    three time-outs at most; what the server answers in between keeps its circuit breaker closed.
    """
    if not failure.may_be_of_one:
        raise failure
    await source.read(resource_type, str(uuid4()), version)
    try:
        return await source.read(resource_type, resource_id, version)
    except UpstreamFailure as again:
        if not again.may_be_of_one:
            raise
        raise FailsAtOne from None


class UpstreamSource:
    """The upstream FHIR server. Raises what `UpstreamClient` raises."""

    def __init__(self, client: UpstreamClient, place: Place) -> None:
        self._client = client
        self.place: Final = place

    async def read(self, resource_type: str, resource_id: str, version: str) -> bytes | None:
        """As `Source.read`."""
        path = f"{resource_type}/{resource_id}" + (f"/_history/{version}" if version else "")
        answer = await self._client.get(path, ())
        return answer.body if answer.status == 200 else None

    async def page(self, url: str) -> bytes:
        """As `Source.page`; a link that leaves the upstream's base is refused by the client."""
        if "://" in url:
            return (await self._client.get_link(url)).body
        path, _, query = url.partition("?")
        try:
            return (await self._client.get(path, parse_qsl(query, keep_blank_values=True))).body
        except ValueError as broken:  # a relative link that is no search
            raise UpstreamFailure("foreign-link") from broken


class OwnSource:
    """Assent's own Consent and AuditEvent resources. Raises search_literals.SearchError."""

    place: Final = Place("assent")

    def __init__(self, repository: Repository, settle: Settle | None = None) -> None:
        """`settle` makes searchable what was recorded until now, of one patient or of all; AuditEvents wait for it."""
        self._repository = repository
        self._settle = settle

    async def read(self, resource_type: str, resource_id: str, version: str) -> bytes | None:
        """As `Source.read`."""
        if not version:
            found = await self._repository.read(resource_type, resource_id)
        elif version.isascii() and version.isdigit() and len(version) < 10:
            found = await self._repository.vread(resource_type, resource_id, int(version))
        else:
            found = None
        return None if found is None or found.deleted else found.body

    async def page(self, url: str) -> bytes:
        """As `Source.page`."""
        resource_type, _, text = url.partition("?")
        pairs = parse_qsl(text, keep_blank_values=True)
        if resource_type.endswith("/_history"):
            return await self._history(resource_type, dict(pairs))
        if resource_type == "AuditEvent" and self._settle is not None:
            for patient in _patients(pairs):
                await self._settle(patient)
        query = parse_search(resource_type, pairs, self._repository.definitions, max_count=_MAX_PAGE)
        page = await self._repository.search(query)
        entries = [_entry(found, "match") for found in page.matches] + [_entry(f, "include") for f in page.included]
        links = []
        if page.next_cursor is not None:
            following = [(name, value) for name, value in pairs if name != CURSOR]
            links = [
                {"relation": "next", "url": f"{resource_type}?{urlencode([*following, (CURSOR, page.next_cursor)])}"}
            ]
        return msgspec.json.encode({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})

    async def _history(self, path: str, query: Mapping[str, str]) -> bytes:
        resource_type, resource_id, _ = path.split("/")
        count, before = int(query["_count"]), int(query.get(_BEFORE, MAX_VERSION))
        versions = await self._repository.history(resource_type, resource_id, before=before, count=count + 1)
        page, links = versions[:count], []
        if len(versions) > count:
            following = urlencode({"_count": count, _BEFORE: page[-1].version})
            links = [{"relation": "next", "url": f"{path}?{following}"}]
        entries = [{"resource": msgspec.Raw(version.body)} for version in page if not version.deleted]
        return msgspec.json.encode({"resourceType": "Bundle", "type": "history", "link": links, "entry": entries})


def _patients(pairs: Sequence[tuple[str, str]]) -> Sequence[str | None]:
    """The patients to whom the query is bound; None alone when it is bound to none."""
    found = next((value for name, value in pairs if name == "patient"), None)
    return [None] if found is None else [part.removeprefix("Patient/") for part in found.split(",")]


def _entry(found: StoredResource, mode: str) -> dict[str, object]:
    return {"resource": msgspec.Raw(found.body), "search": {"mode": mode}}
