"""The keys of clients that registered their address (`jwks_uri`), as they stand there now.

SMART App Launch 2.2, asymmetric authentication: kept as long as Cache-Control says and never longer. Who asks is not
authenticated yet, so every way to make this server ask elsewhere is bounded: one request at a time for each client,
a pause after a failure, another before an unknown `kid` counts as a new key, and a number for each minute.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from authz.clients.key_addresses import KeyAddresses
from authz.clients.key_fetch import Fetched, KeyFetcher, KeysUnavailable
from authz.clients.key_sets import ALGORITHMS, Jwk, matching
from fhir.store.change_bus import Change

MAX_CLIENTS: Final = 1_000
"""Sets that are kept; the one that was longest unused goes first."""
PER_MINUTE: Final = 30
PAUSE_SECONDS: Final = 10.0
"""After a failure, and before an unknown `kid` makes us ask again."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Kept:
    """What is known of one client at one address. Moments are seconds of a monotonic clock."""

    keys: tuple[Jwk, ...] | None = None
    etag: str | None = None
    fresh_until: float = 0.0
    asked: deque[float] = field(default_factory=deque)
    failed_at: float = -float("inf")
    flight: asyncio.Task[tuple[Jwk, ...]] | None = None


class ClientKeys:
    """Key sets by client and address."""

    def __init__(
        self,
        addresses: KeyAddresses,
        *,
        timeout: float = 5.0,
        algorithms: Sequence[str] = ALGORITHMS,
        per_minute: int = PER_MINUTE,
        pause: float = PAUSE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` in seconds for one request; `algorithms`: what the keys must fit; `per_minute` and `pause` bound
        how often each is asked."""
        self.addresses = addresses
        self._per_minute = per_minute
        self._pause = pause
        self._fetcher = KeyFetcher(addresses, timeout=timeout, algorithms=algorithms)
        self._monotonic = monotonic
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._flights: set[asyncio.Task[tuple[Jwk, ...]]] = set()

    async def of(self, client_id: str, url: str, kid: object, alg: str) -> tuple[Jwk, ...]:
        """The client's keys; fetched where none are kept, or none that fits. Raises KeysUnavailable."""
        kept = self._entry(client_id, url)
        now = self._monotonic()
        fresh = kept.keys is not None and now < kept.fresh_until
        if fresh and (matching(kept.keys or (), kid, alg) or now - kept.asked[-1] < self._pause):
            return kept.keys or ()
        if kept.flight is None or kept.flight.done():
            kept.flight = asyncio.create_task(self._ask(client_id, url, kept), name="client-keys")
            self._flights.add(kept.flight)
            kept.flight.add_done_callback(self._landed)
        # All who wait share one attempt, its failure too; one who gives up doesn't end it for the others.
        return await asyncio.shield(kept.flight)

    def on_change(self, change: Change) -> None:
        """Forget the keys of a client that changed. How often it was asked stays known.

        Lost news keeps nothing alive: which address counts is read from the database at every use.
        """
        for place, kept in self._kept.items():
            if change.kind == "all" or (change.kind == "client" and change.key == place[0]):
                # Another object: what is under way still writes to the old one.
                self._kept[place] = _Kept(asked=kept.asked)

    async def close(self) -> None:
        """End what is under way and close the connections."""
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._fetcher.close()

    def _entry(self, client_id: str, url: str) -> _Kept:
        kept = self._kept.setdefault((client_id, url), _Kept())
        self._kept.move_to_end((client_id, url))
        if len(self._kept) > MAX_CLIENTS:
            self._kept.popitem(last=False)
        return kept

    def _landed(self, flight: asyncio.Task[tuple[Jwk, ...]]) -> None:
        self._flights.discard(flight)
        if not flight.cancelled():
            flight.exception()  # when everybody who waited gave up, nobody else looks at it

    async def _ask(self, client_id: str, url: str, kept: _Kept) -> tuple[Jwk, ...]:
        now = self._monotonic()
        if now - kept.failed_at < self._pause:
            raise KeysUnavailable("too-often")
        while kept.asked and now - kept.asked[0] >= 60:
            kept.asked.popleft()
        if len(kept.asked) >= self._per_minute:
            raise KeysUnavailable("too-often")
        kept.asked.append(now)
        before = kept.keys
        try:
            found = await self._fetcher.fetch(url, None if before is None else kept.etag)
        except KeysUnavailable as failure:
            kept.failed_at = now
            _log.warning("client_keys_unavailable", client_id=client_id, reason=failure.reason)
            raise
        return _keep(kept, before, found, now)


def _keep(kept: _Kept, before: tuple[Jwk, ...] | None, found: Fetched, asked_at: float) -> tuple[Jwk, ...]:
    keys = before if found.keys is None else found.keys
    if keys is None:
        raise KeysUnavailable("status")
    kept.keys = keys if found.store else None
    kept.etag = found.etag
    kept.fresh_until = asked_at + found.seconds
    return keys
