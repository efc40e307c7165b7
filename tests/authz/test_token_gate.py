"""A token counts while its grant, its client and itself do; what is remembered of it hangs on hearing of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, update

from authz import tables
from authz.clients.clients import disable_client
from authz.tokens.access_tokens import INVALID, NO_TOKEN
from authz.tokens.gate import TokenGate
from fhir.proxy.presented_token import PresentedToken
from fhir.store.change_bus import EVERYTHING, Change, ChangeBus
from policies.model import Access
from tests.leaks.world import App, World, observation, patient, world


class SilentBus(ChangeBus):
    """A bus whose health is set by hand, and that hears nothing."""

    well = True

    def healthy(self) -> bool:
        return self.well


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("gate")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


@pytest.fixture
def bus() -> SilentBus:
    return SilentBus("postgresql://nobody@localhost/nothing")


@pytest.fixture
def gate(server: World, bus: SilentBus) -> TokenGate:
    context = server.assent.authz
    return TokenGate(context.tokens, context.engine, bus, context.clock)


class Queries:
    """Counts how often a connection is taken to ask the database."""

    def __init__(self, server: World) -> None:
        self.count = 0
        event.listen(server.assent.engine.sync_engine, "checkout", self._seen)

    def _seen(self, *_: Any) -> None:
        self.count += 1


def sent(authorization: str | None) -> PresentedToken:
    return PresentedToken(authorization, "GET", "/fhir/Observation/lab0")


async def header(server: World) -> tuple[App, str]:
    app = await server.app(["laboratory"])
    return app, f"Bearer {app.token['access_token']}"


async def test_a_live_token_is_asked_of_the_database_once(server: World, gate: TokenGate) -> None:
    _, bearer = await header(server)
    assert isinstance(await gate.access(sent(bearer)), Access)
    queries = Queries(server)
    assert isinstance(await gate.access(sent(bearer)), Access)
    assert queries.count == 0


async def test_without_news_nothing_is_remembered(server: World, gate: TokenGate, bus: SilentBus) -> None:
    _, bearer = await header(server)
    await gate.access(sent(bearer))
    bus.well = False
    queries = Queries(server)
    for _ in range(2):
        before = queries.count
        assert isinstance(await gate.access(sent(bearer)), Access)
        assert queries.count > before


async def test_a_grant_that_ended_unheard_counts_for_nothing_once_the_bus_is_unwell(
    server: World, gate: TokenGate, bus: SilentBus
) -> None:
    app, bearer = await header(server)
    await gate.access(sent(bearer))
    async with server.assent.engine.begin() as connection:
        ended = update(tables.grant).where(tables.grant.c.client_id == app.client_id)
        await connection.execute(ended.values(revoked_at=server.assent.authz.clock()))
    bus.well = False
    assert await gate.access(sent(bearer)) is INVALID


@pytest.mark.parametrize("kind", ["client", "all"])
async def test_news_of_the_client_is_heeded_at_once(server: World, gate: TokenGate, bus: SilentBus, kind: str) -> None:
    app, bearer = await header(server)
    await gate.access(sent(bearer))
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, app.client_id, server.assent.authz.clock())
    bus.tell(EVERYTHING if kind == "all" else Change("client", app.client_id))
    assert await gate.access(sent(bearer)) is INVALID


async def test_what_is_remembered_never_outlives_the_token(server: World, bus: SilentBus) -> None:
    context = server.assent.authz
    now = context.clock()
    gate = TokenGate(context.tokens, context.engine, bus, lambda: now)
    _, bearer = await header(server)
    assert isinstance(await gate.access(sent(bearer)), Access)
    now += timedelta(hours=1)
    assert await gate.access(sent(bearer)) is INVALID


@pytest.mark.parametrize("given", [None, "", "Basic YTpi", "bearer", "Token x"])
async def test_what_is_no_bearer_token_is_told_apart_from_a_bad_one(gate: TokenGate, given: str | None) -> None:
    assert await gate.access(sent(given)) in (NO_TOKEN, INVALID)
    assert (await gate.access(sent(given))) is (INVALID if given == "bearer" else NO_TOKEN)
