"""Brings the database to this release's schema: Alembic, run from code, one migrator at a time.

Every process may call `migrate` at start; an advisory lock lets one work and the others wait and find nothing to do.
Nearly every start finds nothing to do, and doesn't load Alembic for that.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, String, column, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

SCHEMA = "assent"
MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x617373656E74
"""Key of the migration lock: the ASCII bytes of `assent`."""


class NewerSchemaError(Exception):
    """The database was migrated by a release that this one doesn't know; the text says what to do."""


async def migrate(url: str) -> tuple[str | None, str | None]:
    """Upgrade the database at `url` to the newest revision; answers the revision before and after.

    Raises NewerSchemaError.
    """
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            await connection.commit()
            before = await _revision(connection)
            if (newer := newer_schema(before)) is not None:
                raise NewerSchemaError(newer)
            if before != newest_revision():
                await connection.run_sync(_upgrade)
                await connection.commit()
            after = await _revision(connection)
            await connection.commit()
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
            await connection.commit()
    finally:
        await engine.dispose()
    return before, after


async def current_revision(url: str) -> str | None:
    """The revision of the database at `url`; None when it was never migrated."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await _revision(connection)
    finally:
        await engine.dispose()


def known_revisions() -> list[str]:
    """Those that this release knows, oldest first; the file of revision `0001` is `v0001_….py`."""
    return sorted(file.name[1:5] for file in (MIGRATIONS / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py"))


def newest_revision() -> str:
    """The revision that this release's code expects."""
    return known_revisions()[-1]


def newer_schema(revision: str | None) -> str | None:
    """What to do about a revision that this release doesn't know; None for one that it can upgrade."""
    if revision is None or revision in known_revisions():
        return None
    return (
        f"schema is at `{revision}`, which a newer release made; this one knows `{newest_revision()}`: "
        "run the newer release, or restore the backup from before the upgrade"
    )


async def _revision(connection: AsyncConnection) -> str | None:
    if await connection.scalar(text("SELECT to_regclass(:table)"), {"table": f"{SCHEMA}.alembic_version"}) is None:
        return None
    versions = table("alembic_version", column("version_num", String), schema=SCHEMA)
    return await connection.scalar(select(versions.c.version_num))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
