"""Alembic's entry: runs on the connection handed in by `assent.migrate`, or opens one for the `alembic` command."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from assent.migrations.schema import SCHEMA, comparison_options


def run(connection: Connection) -> None:
    """Run the requested migrations in one transaction: all of them or none."""
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(connection=connection, **comparison_options())
    with context.begin_transaction():
        context.run_migrations()


async def run_on_new_connection() -> None:
    """For `alembic revision --autogenerate` and the like, on the database that ASSENT_DATABASE_URL names."""
    url = os.environ.get("ASSENT_DATABASE_URL")
    if url is None:
        raise SystemExit("set ASSENT_DATABASE_URL to the database that alembic is to work on")
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_on_new_connection())
