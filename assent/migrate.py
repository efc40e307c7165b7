"""Brings the database to this release's schema: Alembic, run from code, one migrator at a time.

Every process may call `migrate` at start; an advisory lock lets one work and the others wait and find nothing to do.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

SCHEMA = "assent"
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
            before = await connection.run_sync(_revision)
            if (newer := newer_schema(before)) is not None:
                raise NewerSchemaError(newer)
            if before != newest_revision():
                await connection.run_sync(_upgrade)
                await connection.commit()
            after = await connection.run_sync(_revision)
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
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def newest_revision() -> str | None:
    """The revision that this release's code expects."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def newer_schema(revision: str | None) -> str | None:
    """What to do about a revision that this release doesn't know; None for one that it can upgrade."""
    script = ScriptDirectory.from_config(alembic_config())
    if revision is None or revision in {known.revision for known in script.walk_revisions()}:
        return None
    return (
        f"schema is at `{revision}`, which a newer release made; this one knows `{newest_revision()}`: "
        "run the newer release, or restore the backup from before the upgrade"
    )


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration without its file, for use from code."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")
