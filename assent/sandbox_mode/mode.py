"""Sandbox mode: Assent in front of its own synthetic patients; what `make run` starts.

The rest of the server doesn't know that it is a sandbox: it gets the built-in upstream's address and token through
the same settings as any other upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from assent.app import Assent
from assent.database import own_database
from assent.migrate import migrate
from assent.progress import Progress
from assent.sandbox_mode.upstream import BuiltInUpstream, Dataset, built_in_upstream
from assent.server import listen, serve_until
from assent.settings import Settings
from fhir.r4.definitions import Definitions
from sandbox.profiles import CAPABILITIES, PROFILES
from sandbox.records.cohorts import EVERYBODY

BuildSandbox = Callable[[Settings, str], Awaitable[Assent]]
UPSTREAM_CONNECTIONS = 8


def behind(settings: Settings, upstream: BuiltInUpstream) -> Settings:
    """The settings with the built-in upstream in place of any other."""
    return settings.model_copy(
        update={
            "upstreams": {},
            "upstream_url": upstream.url,
            "upstream_auth": "bearer",
            "upstream_bearer_token": SecretStr(upstream.bearer_token),
            "open_registration": True,
            "export_groups": (*settings.export_groups, EVERYBODY),
            "supported_profiles": settings.supported_profiles or PROFILES,
            "instantiates": settings.instantiates or (CAPABILITIES,),
        }
    )


async def serve_sandbox(
    settings: Settings,
    definitions: Definitions,
    dataset: Dataset,
    build: BuildSandbox,
    stop: asyncio.Event,
    progress: Progress,
    welcome: Callable[[], None],
) -> None:
    """Everything, in one process, until `stop` is set; `welcome` tells the person what to open."""

    def serves() -> None:
        progress.step(f"serving {settings.public_url}")
        welcome()

    listener = listen(settings.host, settings.port)
    try:
        progress.step("starting PostgreSQL")
        async with own_database(settings) as url:
            progress.step("bringing the database to this release's schema")
            await migrate(url)
            engine = create_async_engine(url, pool_size=UPSTREAM_CONNECTIONS, hide_parameters=True)
            try:
                clock = _clock
                async with built_in_upstream(engine, definitions, dataset, clock=clock, progress=progress) as upstream:
                    progress.step("starting the server")
                    assent = await build(behind(settings, upstream), url)
                    try:
                        await serve_until(stop, assent.asgi, listener, settings, serves)
                    finally:
                        await assent.aclose()
            finally:
                await engine.dispose()
            progress.step("stopping")
    finally:
        listener.close()
    progress.step("stopped")


def _clock() -> datetime:
    return datetime.now(UTC)
