"""News of a change arrives when its transaction commits; a bus that would miss some says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.store.change_bus import CHANNEL, EVERYTHING, Change, ChangeBus, announce


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[ChangeBus]:
    bus = ChangeBus(database_url)
    yield bus
    await bus.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the bus tells its health to nobody who does not ask
            await asyncio.sleep(0.01)


async def test_a_change_is_told_when_it_is_committed_and_not_before(bus: ChangeBus, engine: AsyncEngine) -> None:
    told: list[Change] = []
    bus.subscribe(told.append)
    await bus.start()
    assert told == [EVERYTHING]
    async with engine.connect() as connection:
        await announce(connection, "consent", "p1")
        await connection.rollback()
        await announce(connection, "grant", "g'1")
        await asyncio.sleep(0.05)
        assert told == [EVERYTHING]
        await connection.commit()
    await until(lambda: len(told) == 2)
    assert told[1] == Change("grant", "g'1")


async def test_news_that_cannot_be_read_forgets_everything(bus: ChangeBus, engine: AsyncEngine) -> None:
    told: list[Change] = []
    bus.subscribe(told.append)
    await bus.start()
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_notify(:c, 'no JSON')"), {"c": CHANNEL})
    await until(lambda: told == [EVERYTHING, EVERYTHING])


async def test_one_subscriber_that_fails_keeps_the_news_from_nobody(bus: ChangeBus) -> None:
    told: list[Change] = []

    def fails(_change: Change) -> None:
        raise RuntimeError("broken subscriber")

    bus.subscribe(fails)
    bus.subscribe(told.append)
    await bus.start()
    assert told == [EVERYTHING]
    assert bus.healthy()


async def test_a_lost_connection_is_unhealthy_until_it_is_back_and_everything_is_forgotten(
    bus: ChangeBus, engine: AsyncEngine
) -> None:
    told: list[Change] = []
    states: list[bool] = []
    bus.subscribe(told.append)
    bus.subscribe(lambda _: states.append(bus.healthy()))
    assert not bus.healthy()
    await bus.start()
    assert bus.healthy()
    async with engine.begin() as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'assent change bus'")
        )
    await until(lambda: not bus.healthy())
    await until(bus.healthy)
    assert told == [EVERYTHING, EVERYTHING]
    # Caches are emptied before they count as good again.
    assert states == [False, False]


async def test_no_heartbeat_for_a_second_is_unhealthy(database_url: str) -> None:
    now = 0.0
    bus = ChangeBus(database_url, monotonic=lambda: now)
    await bus.start()
    try:
        assert bus.healthy()
        now = 1.5
        assert not bus.healthy()
        await until(bus.healthy)
    finally:
        await bus.close()
    assert not bus.healthy()


async def test_sqlalchemys_own_url_options_are_understood(database_url: str) -> None:
    bus = ChangeBus(f"{database_url}?ssl=prefer&prepared_statement_cache_size=0")
    await bus.start()
    assert bus.healthy()
    await bus.close()


async def test_a_connection_over_which_no_heartbeat_comes_back_is_unhealthy(
    database_url: str, engine: AsyncEngine
) -> None:
    # A pooler that lends connections by transaction takes LISTEN, and the news goes elsewhere. Here it goes nowhere.
    name = make_url(database_url).database
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA deaf"))
        await connection.execute(
            text("CREATE FUNCTION deaf.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'")
        )
        await connection.execute(text(f'ALTER DATABASE "{name}" SET search_path = deaf, pg_catalog, public'))
    states: list[bool] = []
    bus = ChangeBus(database_url)
    bus.subscribe(lambda _: states.append(bus.healthy()))
    await bus.start()
    try:
        assert not bus.healthy()
        assert states == [False]
    finally:
        await bus.close()


class Line:
    """A way to the database on which what comes back can be held up."""

    def __init__(self, host: str, port: int) -> None:
        self.held: bytes | None = None
        self._to = host, port
        self._back: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_database, to_database = await asyncio.open_connection(*self._to)
        self._back = writer
        there = asyncio.create_task(self._carry(reader, to_database, back=False))
        await self._carry(from_database, writer, back=True)
        await there

    def release(self) -> None:
        assert self._back is not None
        assert self.held is not None
        self._back.write(self.held)
        self.held = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                if back and self.held is not None:
                    self.held += piece
                else:
                    writer.write(piece)
        writer.close()


async def test_a_late_heartbeat_proves_no_more_than_when_it_was_sent(database_url: str, engine: AsyncEngine) -> None:
    url = make_url(database_url)
    line = Line(url.host or "127.0.0.1", url.port or 5432)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    now, told = 0.0, list[tuple[Change, bool]]()
    bus = ChangeBus(f"{url.set(port=port).render_as_string(hide_password=False)}?ssl=disable", monotonic=lambda: now)
    bus.subscribe(lambda change: told.append((change, bus.healthy())))
    await bus.start()
    try:
        line.held = b""
        await until(lambda: b"assent_heartbeat" in (line.held or b""))
        async with engine.begin() as connection:
            await announce(connection, "consent", "p1")
        await until(lambda: b"consent" in (line.held or b""))
        now = 1.5
        line.release()
        await until(lambda: len(told) == 2)
        # The heartbeat just came in, but it was sent one and a half seconds ago.
        assert told[1] == (Change("consent", "p1"), False)
        await until(bus.healthy)
    finally:
        await bus.close()
        server.close()
        await server.wait_closed()
