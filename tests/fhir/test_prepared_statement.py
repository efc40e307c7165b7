"""Statements that the driver runs: each its own transaction or a part of one, over the engine's connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import BindParameter, Text, bindparam, column, func, literal, select, table, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fhir.store.prepared_statement import HeldConnection, PreparedStatement

_PLACE = table("place", column("name"))
NAMES = PreparedStatement(select(_PLACE.c.name).order_by(_PLACE.c.name))
ADD = PreparedStatement(insert(_PLACE).values(name=bindparam("name")).on_conflict_do_nothing().returning(_PLACE.c.name))
_GIVEN: BindParameter[str] = bindparam("given", type_=Text)
PID = PreparedStatement(select(func.pg_backend_pid().label("pid"), _GIVEN.label("given"), literal(7).label("seven")))


TWICE = PreparedStatement(insert(_PLACE).values(name=bindparam("name")))
SLEEP = PreparedStatement(select(func.pg_sleep(bindparam("seconds"))))


@pytest.fixture
async def small(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine that keeps one connection and lends three."""
    engine = create_async_engine(empty_database_url, pool_size=1, max_overflow=2)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE place (name text PRIMARY KEY)"))
    yield engine
    await engine.dispose()


async def test_a_statement_by_itself_is_committed_when_it_returns(small: AsyncEngine) -> None:
    assert [row["name"] for row in await ADD.rows(small, name="a")] == ["a"]
    assert await ADD.rows(small, name="a") == []
    async with small.connect() as other:
        assert (await other.execute(text("SELECT name FROM place"))).scalars().all() == ["a"]


async def test_in_a_transaction_it_goes_with_the_rest(small: AsyncEngine) -> None:
    async with small.connect() as connection:
        await connection.execute(text("INSERT INTO place VALUES ('a')"))
        await ADD.rows_in(connection, name="b")
        await connection.rollback()
    assert await NAMES.rows(small) == []
    async with small.begin() as connection:
        await connection.execute(text("INSERT INTO place VALUES ('a')"))
        await ADD.rows_in(connection, name="b")
    assert [row["name"] for row in await NAMES.rows(small)] == ["a", "b"]


async def test_before_a_transaction_has_begun_it_is_refused_and_stores_nothing(small: AsyncEngine) -> None:
    async with small.begin() as connection:
        with pytest.raises(RuntimeError, match="has not begun"):
            await ADD.rows_in(connection, name="b")
    assert await NAMES.rows(small) == []


async def test_many_at_once_share_the_connections_and_leave_none_behind(small: AsyncEngine) -> None:
    found = await asyncio.gather(*(PID.rows(small, given=str(number)) for number in range(20)))
    assert [row[0]["given"] for row in found] == [str(number) for number in range(20)]
    assert {row[0]["seven"] for row in found} == {7}
    assert len({row[0]["pid"] for row in found}) <= 3
    assert small.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool


async def test_a_connection_that_was_lost_meanwhile_is_replaced(small: AsyncEngine) -> None:
    (before,) = await PID.rows(small, given="")
    other = create_async_engine(small.url)
    async with other.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": before["pid"]})
    await other.dispose()
    await asyncio.sleep(0.2)
    (after,) = await PID.rows(small, given="")
    assert after["pid"] != before["pid"]


async def test_an_error_gives_the_connection_back_fit_for_use(small: AsyncEngine) -> None:
    broken = PreparedStatement(select(text("1 / 0")))
    for _ in range(4):  # more often than there are connections
        with pytest.raises(Exception, match="division by zero"):
            await broken.rows(small)
    assert await NAMES.rows(small) == []


async def test_a_held_connection_is_one_until_it_is_given_back(small: AsyncEngine) -> None:
    held = HeldConnection(small)
    first, second = [(await PID.rows_on(held, given="x"))[0]["pid"] for _ in range(2)]
    assert first == second
    assert small.pool.checkedout() == 1  # type: ignore[attr-defined]  # a QueuePool
    await held.close()
    assert small.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool


async def test_a_held_connection_is_another_one_after_an_error_or_a_time_out(small: AsyncEngine) -> None:
    held = HeldConnection(small)
    seen = {(await PID.rows_on(held, given="x"))[0]["pid"]}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await SLEEP.rows_on(held, seconds=30.0)
    seen.add((await PID.rows_on(held, given="x"))[0]["pid"])
    await ADD.rows(small, name="a")
    with pytest.raises(asyncpg.UniqueViolationError):
        await TWICE.rows_on(held, name="a")
    seen.add((await PID.rows_on(held, given="x"))[0]["pid"])
    assert len(seen) == 3
    await held.close()
    await held.close()
    assert small.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool
