"""What changed is known to every process at once: PostgreSQL NOTIFY, and the heartbeat that tells whether it arrives.

Caches of consents, apps and grants are only as good as the news about them. `announce` sends the news inside the
transaction that makes the change; `healthy` says whether news would arrive. Whoever caches must read the database
when it answers no: a lost connection must not keep a revoked consent alive (docs/leaks.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import msgspec
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL: Final = "assent_changes"
HEARTBEAT_SECONDS: Final = 0.25
UNHEALTHY_AFTER_SECONDS: Final = 1.0
_MAX_BACK_OFF_SECONDS: Final = 5.0
_PONG_CHANNEL: Final = "assent_heartbeat"

_LOST: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is `consent`, `client`, `token`, `grant`, or `all`: forget everything. `key` says which one."""

    kind: str
    key: str


EVERYTHING: Final = Change("all", "")
_decode: Final = msgspec.json.Decoder(Change).decode


async def announce(connection: AsyncConnection, kind: str, key: str) -> None:
    """Tell every process, once the transaction of `connection` commits, that `key` changed."""
    payload = msgspec.json.encode(Change(kind, key)).decode()
    await connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})


class ChangeBus:
    """Listens on a connection of its own and reconnects by itself. Callbacks run in the event loop: keep them short."""

    def __init__(self, database_url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = _driver_url(database_url)
        self._monotonic = monotonic
        self._subscribers: list[Callable[[Change], None]] = []
        self._connected = False
        self._heard_until = -float("inf")
        """News of everything committed before this moment has arrived."""
        self._ponged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._pid = 0

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Have `callback` called for every change; with `EVERYTHING` after each (re)connect."""
        self._subscribers.append(callback)

    def healthy(self) -> bool:
        """Whether a change made a second ago would be known by now."""
        return self._connected and self._monotonic() - self._heard_until <= UNHEALTHY_AFTER_SECONDS

    async def start(self) -> None:
        """Connect and listen. Raises what asyncpg raises when the database can't be reached at all.

        Where no news comes through, as behind a pooler that lends connections by transaction, it stays unhealthy.
        """
        connection = await self._connect()
        self._task = asyncio.create_task(self._run(connection), name="change-bus")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNHEALTHY_AFTER_SECONDS):
                await self._ponged.wait()

    async def close(self) -> None:
        """Stop listening."""
        self._connected = False
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        # A task cancelled before its first step runs no `finally`.
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _run(self, connection: Any) -> None:
        back_off = HEARTBEAT_SECONDS
        while True:
            try:
                await self._beat(connection)
            except _LOST as lost:
                _log.warning("change_bus_lost", reason=type(lost).__name__)
            finally:
                self._connected = False
                connection.terminate()
            while True:
                await asyncio.sleep(back_off)
                try:
                    connection = await self._connect()
                    back_off = HEARTBEAT_SECONDS
                    break
                except _LOST:
                    back_off = min(back_off * 2, _MAX_BACK_OFF_SECONDS)

    async def _connect(self) -> Any:
        connection = await asyncpg.connect(
            self._url, timeout=5, command_timeout=2, server_settings={"application_name": "assent change bus"}
        )
        try:
            self._pid = connection.get_server_pid()
            self._heard_until = -float("inf")
            self._ponged.clear()
            await connection.add_listener(CHANNEL, self._heard)
            await connection.add_listener(_PONG_CHANNEL, self._pong)
            # What changed while nobody listened is unknown: everything is forgotten before caches count as good again.
            self.tell(EVERYTHING)
            # INVARIANT: healthy only once a heartbeat sent after this came back.
            await self._ping(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._connected = connection, True
        return connection

    async def _beat(self, connection: Any) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._ping(connection)

    async def _ping(self, connection: Any) -> None:
        await connection.execute("SELECT pg_notify($1, $2)", _PONG_CHANNEL, repr(self._monotonic()))

    def _pong(self, _connection: Any, pid: int, _channel: str, payload: object) -> None:
        # Another process's heartbeat says nothing about this connection's way to the server and back.
        if pid == self._pid:
            # News comes in the order of commits: what a late heartbeat proves is as old as its sending.
            self._heard_until = float(str(payload))
            self._ponged.set()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        try:
            change = _decode(str(payload))
        except msgspec.DecodeError:
            change = EVERYTHING
        self.tell(change)

    def tell(self, change: Change) -> None:
        """Tell the subscribers in this process. Who committed a change calls it, so that the next request knows."""
        for callback in self._subscribers:
            try:
                callback(change)
            except Exception:  # one subscriber's fault must not keep the news from the others
                _log.exception("change_bus_subscriber_failed", kind=change.kind)


def _driver_url(database_url: str) -> str:
    """SQLAlchemy's URL as asyncpg itself reads it: `ssl` is spelled `sslmode`, SQLAlchemy's own options go."""
    url = make_url(database_url).set(drivername="postgresql")
    query = {name: value for name, value in url.query.items() if not name.startswith("prepared_statement_")}
    if "ssl" in query:
        query["sslmode"] = query.pop("ssl")
    return url.set(query=query).render_as_string(hide_password=False)
