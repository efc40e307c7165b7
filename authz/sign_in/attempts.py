"""Counts wrong passwords, so that guessing is slow and nobody can lock another person out from afar.

Counters live in this process, and in Valkey too where several processes or machines share one. Valkey being away never
opens the door: what this process has counted by itself still holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, cast

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from authz.opaque_secret import hash_of

LOCKED: Final = timedelta(minutes=15)
_PER_NAME_AND_ADDRESS: Final = parse("5/15minutes")
"""Wrong passwords for one name from one address. Counted together, so that nobody can lock another out from afar."""
_PER_ADDRESS: Final = RateLimitItemPerMinute(60, 5)
"""Wrong passwords from one address, whatever the names."""
_BEGUN_PER_ADDRESS: Final = RateLimitItemPerMinute(600, 5)
"""Sign-ins begun in other ways, each of which is kept for some minutes. A hospital's people may share an address."""

_log = structlog.get_logger(__name__)


class SignInAttempts:
    """Wrong passwords by name and address."""

    def __init__(self, valkey_url: str | None = None) -> None:
        """`valkey_url`: `valkey://` or `redis://`, with `s` for TLS."""
        self._shared = None if valkey_url is None else _shared(valkey_url)
        storages: list[Storage] = [MemoryStorage(), *([self._shared] if self._shared else [])]
        self._limiters = [MovingWindowRateLimiter(storage) for storage in storages]

    async def close(self) -> None:
        """Let go of connections."""
        if self._shared is not None:
            client: Any = cast(RedispyBridge, self._shared.bridge).get_connection()
            await client.aclose()

    async def allowed(self, name: str, address: str) -> bool:
        """Whether a password may be tried."""
        for item, key in _counters(name, address):
            for limiter in self._limiters:
                if not await self._guarded(lambda: limiter.test(item, *key), otherwise=True):  # noqa: B023 - awaited here
                    return False
        return True

    async def failed(self, name: str, address: str) -> None:
        """The password was wrong."""
        for item, key in _counters(name, address):
            for limiter in self._limiters:
                await self._guarded(lambda: limiter.hit(item, *key), otherwise=True)  # noqa: B023 - awaited here

    async def may_begin(self, address: str) -> bool:
        """Count a sign-in at an identity provider or with a passkey; False when this address began too many."""
        for limiter in self._limiters:
            key = ("sign-in-begun", hash_of(address))
            if not await self._guarded(lambda: limiter.hit(_BEGUN_PER_ADDRESS, *key), otherwise=True):  # noqa: B023 - awaited here
                return False
        return True

    async def succeeded(self, name: str, address: str) -> None:
        """The password was right: this name begins anew at this address."""
        item, key = _counters(name, address)[0]
        for limiter in self._limiters:
            await self._guarded(lambda: _clear(limiter, item, key), otherwise=True)  # noqa: B023 - awaited here

    async def _guarded(self, asked: Callable[[], Awaitable[bool]], *, otherwise: bool) -> bool:
        try:
            return await asked()
        except StorageError as broken:
            _log.warning("sign_in_counters_unreachable", reason=type(broken.storage_error).__name__)
            return otherwise


def _shared(url: str) -> RedisStorage:
    return RedisStorage(
        f"async+{url}",
        implementation="valkey",
        wrap_exceptions=True,
        key_prefix="assent",
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
    )


def _counters(name: str, address: str) -> tuple[tuple[RateLimitItem, tuple[str, ...]], ...]:
    who, where = hash_of(name), hash_of(address)  # a shared counter needn't know people
    return (_PER_NAME_AND_ADDRESS, ("sign-in", who, where)), (_PER_ADDRESS, ("sign-in", where))


async def _clear(limiter: MovingWindowRateLimiter, item: RateLimitItem, key: tuple[str, ...]) -> bool:
    await limiter.clear(item, *key)
    return True
