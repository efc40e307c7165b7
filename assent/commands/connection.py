"""Runs the body of a command in one transaction on the migrated database, beside a running server if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from assent.commands.output import NO
from assent.database import any_database
from assent.migrate import migrate
from assent.settings import Settings

Result = TypeVar("Result")


@asynccontextmanager
async def command_engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine for one command; the schema is brought up to date first."""
    async with any_database(settings) as url:
        await migrate(url)
        engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
        try:
            yield engine
        finally:
            await engine.dispose()


def in_transaction(settings: Settings, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    """Run `work` and commit; nothing is kept when it raises."""

    async def run() -> Result:
        async with command_engine(settings) as engine, engine.begin() as connection:
            return await work(connection)

    return asyncio.run(run())


def now() -> datetime:
    """The clock of commands."""
    return datetime.now(UTC)


def refuse(text: str) -> typer.Exit:
    """Say why the answer is no; raise what this returns."""
    typer.echo(text, err=True)
    return typer.Exit(NO)
