"""Reads of the directory in the upstream, bounded in number and remembered for a bounded time.

An answer is believed if it is what was asked for, whole: the very resource, one page of at most `MOST_FOUND`. Anything
else, and a failure, is None: not known. That is remembered too, for less long, so that an upstream that is down isn't
asked at every request. What several questions need at once is asked once for all of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from fhir.consents.members import Json
from fhir.consents.shared_work import SharedWork
from fhir.r4.strict_json import decode_once
from fhir.search.literals import SearchError
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import Source
from fhir.upstream.upstreams import TypeNotServed

MOST_ASKED: Final = 100
"""Look-ups for one question, those that are remembered included: so the answer is the same when they are."""
MOST_FOUND: Final = 500
MOST_SECONDS: Final = 5.0
"""For all look-ups of one question together: somebody waits for a decision."""
_MOST_BYTES: Final = 2 * 1024 * 1024
"""Of one answer."""
_MOST_KEPT_BYTES: Final = 8 * 1024 * 1024
"""Of all that are remembered; the oldest goes first."""
_OVERHEAD: Final = 512
_FAILURES_LAST: Final = timedelta(seconds=5)
_NAME: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.\-]{1,64})")

Answer = Json | tuple[Json, ...] | None


class _Told(NamedTuple):
    answer: Answer
    size: int
    """Bytes in which the upstream said it."""


class Kept(NamedTuple):
    """An answer, and until when it is believed."""

    answer: Answer
    until: datetime
    size: int


_NOT_TOLD: Final = _Told(None, 0)


class DirectoryLookup:
    """Remembers answers."""

    def __init__(self, source_of: Callable[[str], Source], bases: Sequence[str] = ()) -> None:
        """`bases`: of the upstreams; a reference below one of them is `Type/id`."""
        self._source_of = source_of
        self._bases = tuple(f"{base.rstrip('/')}/" for base in bases)
        self._kept: OrderedDict[tuple[str, ...], Kept] = OrderedDict()
        self._size = 0
        self._under_way: SharedWork[tuple[str, ...], Kept] = SharedWork()

    def begin(self, now: datetime, lasts: timedelta) -> Lookup:
        """The look-ups of one question."""
        return Lookup(self, now, lasts)

    def known(self, key: tuple[str, ...], now: datetime) -> Kept | None:
        """An answer that still counts."""
        kept = self._kept.get(key)
        return kept if kept is not None and now < kept.until else None

    def keep(self, key: tuple[str, ...], kept: Kept) -> None:
        """Remember an answer."""
        replaced = self._kept.pop(key, None)
        self._kept[key] = kept
        self._size += kept.size + _OVERHEAD - (0 if replaced is None else replaced.size + _OVERHEAD)
        while self._size > _MOST_KEPT_BYTES:
            self._size -= self._kept.popitem(last=False)[1].size + _OVERHEAD

    async def asked(self, key: tuple[str, ...], now: datetime, lasts: timedelta, seconds: float) -> Kept:
        """The upstream's answer now, shared with whoever asks the same meanwhile; none after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self._under_way.of(key, lambda: self._remembered(key, now, lasts))
        except TimeoutError:
            kept = Kept(None, now + min(lasts, _FAILURES_LAST), 0)
            if key not in self._under_way:  # others may have more time, and get an answer yet
                self.keep(key, kept)
            return kept

    async def _remembered(self, key: tuple[str, ...], now: datetime, lasts: timedelta) -> Kept:
        answer, size = await self._told(key)
        kept = Kept(answer, now + (lasts if answer is not None else min(lasts, _FAILURES_LAST)), size)
        self.keep(key, kept)
        return kept

    async def _told(self, key: tuple[str, ...]) -> _Told:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                body = await self._body(key)
            if body is None or len(body) > _MOST_BYTES:
                return _NOT_TOLD
            answer = self._found(decode_once(body), key[0]) if len(key) == 3 else self._itself(decode_once(body), *key)
        except (UpstreamFailure, TypeNotServed, SearchError, TimeoutError, msgspec.DecodeError, RecursionError):
            return _NOT_TOLD
        return _Told(answer, len(body))

    async def _body(self, key: tuple[str, ...]) -> bytes | None:
        source = self._source_of(key[0])
        if len(key) == 2:
            return await source.read(*key, "")
        kind, parameter, value = key
        return await source.page(f"{kind}?{urlencode({parameter: value, '_count': str(MOST_FOUND)})}")

    def _itself(self, resource: dict[str, object], kind: str, wanted: str) -> Answer:
        found: Json = self._relative(resource)
        return found if found.get("resourceType") == kind and found.get("id") == wanted else None

    def _found(self, bundle: dict[str, object], kind: str) -> Answer:
        links, entries = bundle.get("link", []), bundle.get("entry", [])
        if bundle.get("resourceType") != "Bundle" or not isinstance(links, list) or not isinstance(entries, list):
            return None
        if any(not isinstance(link, dict) or link.get("relation") == "next" for link in links):
            return None
        found = [self._relative(entry.get("resource")) if isinstance(entry, dict) else None for entry in entries]
        resources = tuple(item for item in found if isinstance(item, dict) and item.get("resourceType") == kind)
        return resources if len(resources) == len(entries) else None

    def _relative(self, value: Any) -> Any:
        """The same JSON, with references below the upstream's own base as `Type/id`."""
        if isinstance(value, list):
            return [self._relative(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {name: self._relative(item) for name, item in value.items()}
        if isinstance(literal := found.get("reference"), str):
            base = next((base for base in self._bases if literal.startswith(base)), "")
            found["reference"] = literal.removeprefix(base)
        return found


class Lookup:
    """Asks for one question, and knows until when its answers count."""

    def __init__(self, lookup: DirectoryLookup, now: datetime, lasts: timedelta) -> None:
        self._lookup = lookup
        self._now = now
        self._lasts = lasts
        self._left = MOST_ASKED
        self._ends = time.monotonic() + MOST_SECONDS
        self.until = now + lasts

    async def resource(self, name: str) -> Json | None:
        """`Type/id` as it is now."""
        match = _NAME.fullmatch(name)
        answer = None if match is None or ".." in name else await self._answer((match[1], match[2]))
        return None if isinstance(answer, tuple) else answer

    async def search(self, kind: str, parameter: str, value: str) -> tuple[Json, ...] | None:
        """All resources of a type that match."""
        answer = await self._answer((kind, parameter, value))
        return answer if isinstance(answer, tuple) else None

    async def _answer(self, key: tuple[str, ...]) -> Answer:
        if self._left <= 0:
            return None
        self._left -= 1
        kept = self._lookup.known(key, self._now)
        seconds = self._ends - time.monotonic()
        if kept is None and seconds > 0:
            kept = await self._lookup.asked(key, self._now, self._lasts, seconds)
        if kept is None:  # what wasn't asked for isn't remembered: the next question may have the time
            kept = Kept(None, self._now + min(self._lasts, _FAILURES_LAST), 0)
        self.until = min(self.until, kept.until)
        return kept.answer
