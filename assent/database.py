"""Which database a command works on: the one that is set, the embedded one, or the one a running Assent holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from assent.embedded_postgres.server import DataDirectoryInUseError, EmbeddedPostgres, running_url
from assent.settings import Settings

CONNECT_SECONDS = 10.0


class DatabaseUnreachableError(Exception):
    """The database that is set can't be reached; the text says what to check."""


@asynccontextmanager
async def own_database(settings: Settings) -> AsyncIterator[str]:
    """URL of the database for a server: an embedded one is started, and stopped at the end."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        await check_reachable(url)
        yield url
        return
    server = EmbeddedPostgres(settings.data_dir)
    try:
        yield await server.start()
    finally:
        await server.stop()


@asynccontextmanager
async def any_database(settings: Settings) -> AsyncIterator[str]:
    """URL of the database for a command, which may run beside a server on the same data directory."""
    running = running_url(settings.data_dir) if settings.database_url is None else None
    if running is not None:
        try:
            await check_reachable(running)
        except DatabaseUnreachableError as error:
            raise DataDirectoryInUseError(f"the database in `{settings.data_dir}` doesn't answer") from error
        yield running
        return
    async with own_database(settings) as url:
        yield url


async def check_reachable(url: str) -> None:
    """Connect once; DatabaseUnreachableError with the kind of failure, never the URL, which holds a password."""
    try:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql", 1), timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseUnreachableError(
            f"can't connect to the database that ASSENT_DATABASE_URL names (`{type(error).__name__}`); "
            "check its host, port, database name, user and password"
        ) from error
    await connection.close()
