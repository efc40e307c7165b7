"""One GET for the keys of a client, and how long its answer counts (RFC 9110, RFC 9111).

Nothing of the answer is believed but what is checked here: its status, its size, that it is a JWK Set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

from authz.clients.checked_http import BodyRefused, CheckedHttp, bounded_body
from authz.clients.key_addresses import AddressRefused, KeyAddresses
from authz.clients.key_sets import ALGORITHMS, Jwk, KeySetRefused, usable_keys

Reason = Literal["address", "unreachable", "timeout", "status", "redirect", "too-large", "not-keys", "too-often"]

MAX_SECONDS: Final = 3600.0
"""Keys are asked for again after this long, whatever the answer said: a key that was withdrawn must end."""
DEFAULT_SECONDS: Final = 300.0
"""For an answer that doesn't say."""
_HEADERS: Final = {
    "Accept": "application/jwk-set+json, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "Assent",
}
_CONNECTIONS: Final = 32
_PER_HOST: Final = 4
_DIRECTIVE: Final = re.compile(r'\s*([a-z-]+)\s*(?:=\s*"?([^",]*)"?\s*)?(?:,|$)')
_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]{0,200}"')


class KeysUnavailable(Exception):
    """The keys can't be had. `reason` is for the operator's log; the caller may not learn more than that."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. `keys` is None when those that are kept are still right (304)."""

    keys: tuple[Jwk, ...] | None
    etag: str | None
    seconds: float
    """How long it counts, from the moment that it was asked for."""
    store: bool
    """Whether it may be kept at all."""


class KeyFetcher:
    """Asks for key sets. Connections are opened when first used, in the event loop that uses them."""

    def __init__(
        self, addresses: KeyAddresses, *, timeout: float = 5.0, algorithms: Sequence[str] = ALGORITHMS
    ) -> None:
        """`timeout` in seconds, for everything: name, connection, whole answer. `algorithms`: what keys must fit."""
        self._algorithms = algorithms
        self._http = CheckedHttp(addresses, timeout=timeout, connections=_CONNECTIONS, per_host=_PER_HOST)

    async def fetch(self, url: str, etag: str | None) -> Fetched:
        """Ask; `etag` is that of what is kept. Raises KeysUnavailable."""
        headers = _HEADERS if etag is None else _HEADERS | {"If-None-Match": etag}
        try:
            async with self._http.request("GET", url, headers) as response:
                return await self._read(response, conditional=etag is not None)
        except AddressRefused as refused:
            raise KeysUnavailable("address") from refused
        except BodyRefused as refused:
            raise KeysUnavailable("too-large" if refused.reason == "too-large" else "not-keys") from None
        except TimeoutError as slow:
            raise KeysUnavailable("timeout") from slow
        except (aiohttp.ClientError, OSError, ValueError):
            # Their texts quote the address; none goes along.
            raise KeysUnavailable("unreachable") from None

    async def close(self) -> None:
        """Close the connections, for good."""
        await self._http.close()

    async def _read(self, response: aiohttp.ClientResponse, *, conditional: bool) -> Fetched:
        if 300 <= response.status < 400 and response.status != 304:
            raise KeysUnavailable("redirect")
        unchanged = response.status == 304 and conditional
        if response.status != 200 and not unchanged:
            raise KeysUnavailable("status")
        keys = None if unchanged else _keys(await bounded_body(response), self._algorithms)
        seconds, store = lifetime(response.headers, datetime.now(UTC))
        found = response.headers.get("ETag", "")
        return Fetched(keys, found if _ETAG.fullmatch(found) else None, seconds, store)


def _keys(body: bytes, algorithms: Sequence[str]) -> tuple[Jwk, ...]:
    try:
        return usable_keys(msgspec.json.decode(body, type=dict[str, Any]), algorithms)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeySetRefused):
        # The fault isn't passed on: it may hold what was fetched.
        raise KeysUnavailable("not-keys") from None


def lifetime(headers: CIMultiDictProxy[str], now: datetime) -> tuple[float, bool]:
    """Seconds that an answer counts, and whether it may be kept (RFC 9111 §4.2.1, §5.2.2, §5.3).

    Where headers contradict each other or can't be read, the shorter time counts.
    """
    said = dict[str, list[str]]()
    for match in _DIRECTIVE.finditer(",".join(headers.getall("Cache-Control", [])).lower()):
        said.setdefault(match[1], []).append(match[2] or "")
    if "no-store" in said:
        return 0.0, False
    if "no-cache" in said:
        return 0.0, True
    if "max-age" in said:
        seconds = min(_seconds(text) for text in said["max-age"])
    elif "Expires" in headers:
        seconds = _until(headers.getall("Expires"), headers.get("Date"), now)
    else:
        seconds = DEFAULT_SECONDS
    age = max((_seconds(text) for text in headers.getall("Age", [])), default=0.0)
    return max(0.0, min(seconds - age, MAX_SECONDS)), True


def _seconds(text: str) -> float:
    text = text.strip()
    return float(text[:12]) if text.isascii() and text.isdigit() else 0.0


def _until(expires: Sequence[str], date: str | None, now: datetime) -> float:
    try:
        sent = now if date is None else _moment(date)
        return min((_moment(text) - sent).total_seconds() for text in expires)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _moment(text: str) -> datetime:
    found = parsedate_to_datetime(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
