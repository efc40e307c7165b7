"""Worlds that the leak tests share: what they need is put into them once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.leaks.content import RESOURCES
from tests.leaks.manners import MOST
from tests.leaks.service import service
from tests.leaks.twin_content import (
    LATER_VERSIONS,
    SHOWN,
    WITHHELD_HISTORIES,
    WITHHELD_VERSIONS,
    masked_differently,
    mixed,
)
from tests.leaks.twin_kinds import deny
from tests.leaks.twins import Twins, twins
from tests.leaks.world import World, world
from tests.leaks.writes import RESOURCES as WRITTEN

TICKED = ("demographics", "laboratory", "conditions", "encounters", "documents", "medications", "imaging")
MakeDatabase = Callable[[], Awaitable[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The world of `leaky`."""
    async with world(await make_database(), tmp_path_factory.mktemp("leaks"), RESOURCES) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def leaky(shared: World) -> AsyncIterator[World]:
    """The world that the catalogue's tests share; each launches its own app, whose consent goes with the test."""
    yield shared
    await shared.forget_consents()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worlds(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, World]]:
    """A world without and a world with what is withheld."""
    async with (
        world(await make_database(), tmp_path_factory.mktemp("bare"), SHOWN, upstream_max_body_bytes=MOST) as bare,
        world(await make_database(), tmp_path_factory.mktemp("full"), mixed(), upstream_max_body_bytes=MOST) as full,
    ):
        await deny(bare)
        await deny(full)
        await bare.upstream.write([*WITHHELD_VERSIONS[0], *LATER_VERSIONS])
        await full.upstream.write([*WITHHELD_VERSIONS[1], *LATER_VERSIONS, *WITHHELD_HISTORIES])
        yield bare, full


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def altered(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A world with what is withheld, in which also all that research doesn't see is different."""
    resources = [masked_differently(resource) for resource in mixed()]
    folder = tmp_path_factory.mktemp("altered")
    async with world(await make_database(), folder, resources, upstream_max_body_bytes=MOST) as running:
        await deny(running)
        versions = [*WITHHELD_VERSIONS[1], *LATER_VERSIONS, *WITHHELD_HISTORIES]
        await running.upstream.write([v if isinstance(v, str) else masked_differently(v) for v in versions])
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(worlds: tuple[World, World]) -> Twins:
    """An app with some everyday categories in both."""
    return await twins(*worlds, TICKED)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(worlds: tuple[World, World]) -> Twins:
    """The same service in both worlds; of those who share, zoe is there in one only, and all of her is sensitive."""
    shares = {"ana": TICKED, "zoe": ["demographics"], "nobody": ["laboratory"]}
    one, other = await service(worlds[0], shares), await service(worlds[1], shares)
    return Twins(one.lasting(), other.lasting(), shared=TICKED)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_writable(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world in which apps may write."""
    async with world(
        await make_database(), tmp_path_factory.mktemp("writes"), WRITTEN, upstream_writes=True
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def writable(shared_writable: World) -> AsyncIterator[World]:
    """That world, for one test; consents go with it, what was written stays."""
    yield shared_writable
    await shared_writable.forget_consents()
