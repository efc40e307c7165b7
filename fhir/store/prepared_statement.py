"""Statements of hot paths: written with SQLAlchemy, compiled once, run by the driver itself.

SQLAlchemy's own way from a statement to its rows takes the process five times as long as the driver's, which keeps the
statement prepared besides. Connections are the engine's, so that there is one pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.util import greenlet_spawn

_DIALECT: Any = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types

Rows = list[Mapping[str, Any]]


class PreparedStatement:
    """A statement with named parameters (`bindparam`).

    Lists of values are compared with `any_`: `in_` makes another statement for each length.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self._order: Sequence[str] = compiled.positiontup or ()
        self._constants: Mapping[str, object] = dict(compiled.params)

    async def rows(self, engine: AsyncEngine, **values: object) -> Rows:
        """What it finds or returns, as a transaction of its own. Raises what the driver raises."""
        borrowed = await _open_connection(engine)
        driver: Any = borrowed.driver_connection
        try:
            return await self._run(driver, values)
        finally:
            await greenlet_spawn(_give_back, borrowed)

    async def rows_in(self, connection: AsyncConnection, **values: object) -> Rows:
        """As part of a transaction in which a statement was run already: only that makes SQLAlchemy begin it."""
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if not driver.is_in_transaction():
            raise RuntimeError("the transaction has not begun: this would be committed by itself")
        return await self._run(driver, values)

    async def rows_on(self, held: HeldConnection, **values: object) -> Rows:
        """As `rows`, on a connection that is kept."""
        return await held.use(lambda driver: self._run(driver, values))

    async def _run(self, driver: Any, values: Mapping[str, object]) -> Rows:
        given = {**self._constants, **values}
        found: Rows = await driver.fetch(self._text, *[given[name] for name in self._order])
        return found


class HeldConnection:
    """A connection of the engine's pool, kept by one task that asks again and again.

    Taking one from the pool takes the process as long as a short statement does.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._borrowed: PoolProxiedConnection | None = None

    async def use(self, work: Callable[[Any], Awaitable[Rows]]) -> Rows:
        """Let `work` have the driver's connection. After an error the next one gets another. Raises what it raises."""
        if self._borrowed is None:
            self._borrowed = await _open_connection(self._engine)
        try:
            return await work(self._borrowed.driver_connection)
        except BaseException:
            self._borrowed.invalidate()
            await self.close()
            raise

    async def close(self) -> None:
        """Give it back."""
        borrowed, self._borrowed = self._borrowed, None
        if borrowed is not None:
            await greenlet_spawn(borrowed.close)


async def _open_connection(engine: AsyncEngine) -> PoolProxiedConnection:
    """A connection that wasn't lost while nobody used it: the driver knows, the pool doesn't."""
    while True:
        borrowed = await engine.raw_connection()
        driver: Any = borrowed.driver_connection
        if not driver.is_closed():
            return borrowed
        await greenlet_spawn(_give_back, borrowed)


def _give_back(borrowed: PoolProxiedConnection) -> None:
    """To be called by `greenlet_spawn`: a connection that the pool doesn't keep is closed, which waits."""
    driver: Any = borrowed.driver_connection
    if driver.is_closed():
        borrowed.invalidate()
    borrowed.close()
