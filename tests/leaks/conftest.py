"""One world for all leak tests: what they need is put into it once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio

from tests.leaks.content import RESOURCES
from tests.leaks.world import World, world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def leaky(make_database: Callable[[], Awaitable[str]], tmp_path_factory: object) -> AsyncIterator[World]:
    """The world that the catalogue's tests share; each launches its own app."""
    folder: Path = tmp_path_factory.mktemp("leaks")  # type: ignore[attr-defined]  # pytest's factory
    async with world(await make_database(), folder, RESOURCES) as running:
        yield running
