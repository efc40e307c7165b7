"""What grants open is worked out once for as long as nothing changes, and never for longer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select, text

from assent.app import Assent, build
from authz import tables
from authz.clients.clients import disable_client, rotate_secret
from authz.clients.known_clients import KnownClients
from authz.opaque_secret import hash_of
from authz.tokens.grants import Grant, revoke_grants
from authz.tokens.one_time_tokens import REFRESH_TOKENS
from authz.tokens.open_grants import OpenGrants
from fhir.consents.directory import NO_DIRECTORY
from fhir.consents.register import ConsentRegister, StoredConsents
from fhir.store.change_bus import Change, announce
from tests.authz.test_token_gate import Queries, SilentBus
from tests.conformance.launching import ASSERTION_TYPE, assertion, key_pair, register
from tests.leaks.world import App, World, client_of, observation, patient, settings_for, world
from tests.waiting import soon


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("grants")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(server: World) -> AsyncIterator[Assent]:
    """Another server on the same database, with a bus and caches of its own."""
    running = await build(settings_for(server.folder, server.upstream), server.database_url)
    yield running
    await running.aclose()


@pytest.fixture
def bus() -> SilentBus:
    return SilentBus("postgresql://nobody@localhost/nothing")


@pytest.fixture
def grants(server: World, bus: SilentBus) -> OpenGrants:
    context = server.assent.authz
    register = ConsentRegister(StoredConsents(context.repository), bus)
    bus.subscribe(lambda change: register.forget(change.key) if change.kind == "consent" else None)
    return OpenGrants(context.engine, register, context.catalogue, bus, NO_DIRECTORY, writes=False)


async def grant_of(app: App) -> Grant:
    found = await REFRESH_TOKENS.find(app.world.assent.engine, str(app.token["refresh_token"]))
    assert found is not None
    return found.grant


async def end_unheard(app: App) -> None:
    """End the app's consent as another process would whose news doesn't arrive."""
    context = app.world.assent.authz
    await context.repository.delete("Consent", await app.consent_id())


async def test_what_is_known_is_not_asked_of_the_database_again(server: World, grants: OpenGrants) -> None:
    grant, now = await grant_of(await server.app(["laboratory"])), server.assent.authz.clock()
    assert await grants.find(grant.id) == grant
    opened = await grants.now(grant, now)
    assert opened is not None
    queries = Queries(server)
    assert await grants.find(grant.id) == grant
    assert await grants.now(grant, now) is opened
    assert queries.count == 0


async def test_without_news_a_consent_that_ended_opens_nothing(
    server: World, grants: OpenGrants, bus: SilentBus
) -> None:
    app, now = await server.app(["laboratory"]), server.assent.authz.clock()
    grant = await grant_of(app)
    assert await grants.now(grant, now) is not None
    await end_unheard(app)
    bus.well = False
    assert await grants.now(grant, now) is None


async def test_news_of_a_consent_is_heeded_at_once(server: World, grants: OpenGrants, bus: SilentBus) -> None:
    app, now = await server.app(["laboratory"]), server.assent.authz.clock()
    grant = await grant_of(app)
    assert await grants.now(grant, now) is not None
    await end_unheard(app)
    bus.tell(Change("consent", "ana"))
    assert await grants.now(grant, now) is None


async def test_a_code_is_exchanged_by_the_consents_in_the_database(server: World, grants: OpenGrants) -> None:
    app, now = await server.app(["laboratory"]), server.assent.authz.clock()
    grant = await grant_of(app)
    assert await grants.now(grant, now) is not None
    await end_unheard(app)
    assert await grants.now(grant, now, newest=True) is None


async def test_a_consent_whose_news_is_not_here_yet_counts_for_its_app(server: World, grants: OpenGrants) -> None:
    clock = server.assent.authz.clock
    before = await grant_of(await server.app(["laboratory"]))
    assert await grants.now(before, clock()) is not None  # ana's consents are known from now on
    grant = await grant_of(await server.app(["laboratory"]))
    assert await grants.now(grant, clock()) is not None


async def test_what_is_known_ends_with_the_consents_period_without_any_news(server: World, grants: OpenGrants) -> None:
    clock = server.assent.authz.clock
    grant = await grant_of(await server.app(["laboratory"], until=clock() + timedelta(hours=1)))
    now = clock()
    assert await grants.now(grant, now) is not None
    assert await grants.now(grant, now + timedelta(minutes=59)) is not None
    assert await grants.now(grant, now + timedelta(minutes=61)) is None
    assert await grants.now(grant, now) is not None


async def test_a_grant_that_ended_opens_nothing_whatever_is_known(
    server: World, grants: OpenGrants, bus: SilentBus
) -> None:
    grant, context = await grant_of(await server.app(["laboratory"])), server.assent.authz
    found = await grants.find(grant.id)
    assert found is not None
    assert await grants.now(found, context.clock()) is not None
    async with context.engine.begin() as connection:
        await revoke_grants(connection, context.clock(), tables.grant.c.id == grant.id)
    bus.tell(Change("grant", grant.id))
    found = await grants.find(grant.id)
    assert found is not None
    assert await grants.now(found, context.clock()) is None


async def test_a_client_is_remembered_only_while_news_of_it_would_come(server: World, bus: SilentBus) -> None:
    clients, engine = KnownClients(server.assent.engine, bus), server.assent.engine
    client_id, _ = await register(server)
    queries = Queries(server)
    assert [await clients.find(client_id) for _ in range(2)].count(None) == 0
    assert queries.count == 1
    async with engine.begin() as connection:
        await disable_client(connection, client_id, server.assent.authz.clock())
    bus.well = False
    disabled = await clients.find(client_id)
    assert disabled is not None
    assert not disabled.is_live


@pytest.mark.parametrize("client_id", ["", "x" * 201, "a\x00b", "nobody"])
async def test_who_is_no_client_is_none(server: World, bus: SilentBus, client_id: str) -> None:
    assert await KnownClients(server.assent.engine, bus).find(client_id) is None


async def _gateway(server: World) -> tuple[str, str]:
    client_id, secret = await register(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    assert secret is not None
    return client_id, secret


@pytest.mark.parametrize("ended", ["consent", "grant", "client", "token"])
async def test_what_ends_in_one_process_is_inactive_in_another(server: World, other: Assent, ended: str) -> None:
    app, gateway = await server.app(["laboratory"]), await _gateway(server)
    token, clock = str(app.token["access_token"]), server.assent.authz.clock
    async with client_of(other) as elsewhere:

        async def inactive() -> bool:
            answer = await elsewhere.post("/introspect", data={"token": token}, auth=gateway)
            assert answer.status_code == 200
            return bool(answer.json() == {"active": False})

        assert not await inactive()
        assert not await inactive()
        if ended == "token":
            form = {"token": token, "client_id": app.client_id}
            assert (await server.http.post("/revoke", data=form)).status_code == 200
        elif ended == "grant":
            form = {"token": str(app.token["refresh_token"]), "client_id": app.client_id}
            assert (await server.http.post("/revoke", data=form)).status_code == 200
        elif ended == "client":
            async with server.assent.engine.begin() as connection:
                await disable_client(connection, app.client_id, clock())
        else:
            consent = await app.consent_id()
            async with server.assent.engine.begin() as connection:
                await server.assent.authz.repository.delete("Consent", consent, connection=connection)
                await announce(connection, "consent", "ana")
        assert await soon(inactive)


async def test_a_secret_that_was_replaced_opens_nothing_in_another_process(server: World, other: Assent) -> None:
    client_id, secret = await _gateway(server)
    async with client_of(other) as elsewhere:

        async def refused() -> bool:
            answer = await elsewhere.post("/introspect", data={"token": "x"}, auth=(client_id, secret))
            return (answer.status_code, answer.json().get("error")) == (401, "invalid_client")

        assert not await refused()
        async with server.assent.engine.begin() as connection:
            fresh = await rotate_secret(connection, client_id)
        assert await soon(refused)
        answer = await elsewhere.post("/introspect", data={"token": "x"}, auth=(client_id, fresh or ""))
        assert (answer.status_code, answer.json()) == (200, {"active": False})


async def test_an_assertion_counts_once_in_all_processes_and_a_refresh_token_too(server: World, other: Assent) -> None:
    public, key = key_pair("ES384")
    service, _ = await register(server, kind="backend", redirect_uris=(), scope="system/*.rs", jwks={"keys": [public]})
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
    form["client_assertion"] = assertion(service, key, "ES384", jti=secrets.token_hex(8))
    app = await server.app(["laboratory"])
    renewal = {"grant_type": "refresh_token", "client_id": app.client_id}
    renewal["refresh_token"] = str(app.token["refresh_token"])
    async with client_of(other) as elsewhere:
        for asked, wrong in ((form, (401, "invalid_client")), (renewal, (400, "invalid_grant"))):
            answers = await asyncio.gather(*(http.post("/token", data=asked) for http in (server.http, elsewhere) * 4))
            assert [answer.status_code for answer in answers].count(200) == 1
            refused = {(a.status_code, a.json()["error"]) for a in answers if a.status_code != 200}
            assert refused == {wrong}
    assert not (await _introspected(server, app.token["access_token"]))["active"]  # used twice: its grant ended


async def _introspected(server: World, token: object) -> dict[str, object]:
    answer = await server.http.post("/introspect", data={"token": str(token)}, auth=await _gateway(server))
    found: dict[str, object] = answer.json()
    return found


async def test_assertions_that_expired_are_forgotten(server: World) -> None:
    public, key = key_pair("ES384")
    service, _ = await register(server, kind="backend", redirect_uris=(), scope="system/*.rs", jwks={"keys": [public]})
    used = tables.used_assertion
    jti = next(text for number in range(100_000) if hash_of(text := f"jti-{number}").startswith("00"))
    async with server.assent.engine.begin() as connection:
        now = server.assent.authz.clock()
        old = {"client_id": service, "jti": "old", "expires_at": now - timedelta(seconds=1)}
        fresh = {"client_id": service, "jti": "fresh", "expires_at": now + timedelta(minutes=1)}
        await connection.execute(used.insert(), [old, fresh])
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
    form["client_assertion"] = assertion(service, key, "ES384", jti=jti)
    answer: httpx.Response = await server.http.post("/token", data=form)
    assert answer.status_code == 200
    async with server.assent.engine.connect() as connection:
        mine = select(used.c.jti).where(used.c.client_id == service)
        assert set((await connection.execute(mine)).scalars()) == {"fresh", hash_of(jti)}
        expired = select(func.count()).where(used.c.expires_at < now)
        assert (await connection.execute(expired)).scalar_one() == 0


async def test_without_its_record_no_token_is_given_and_nothing_is_taken(server: World) -> None:
    app = await server.app(["laboratory"])
    renewal = {"grant_type": "refresh_token", "client_id": app.client_id}
    renewal["refresh_token"] = str(app.token["refresh_token"])
    gateway, service = await _gateway(server), {"grant_type": "client_credentials"}
    async with server.assent.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE assent.audit_journal RENAME TO audit_journal_away"))
    try:
        assert (await server.http.post("/token", data=renewal)).status_code == 500
        assert (await server.http.post("/token", data=service, auth=gateway)).status_code == 500
    finally:
        async with server.assent.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE assent.audit_journal_away RENAME TO audit_journal"))
    assert (await server.http.post("/token", data=renewal)).status_code == 200
    assert (await server.http.post("/token", data=service, auth=gateway)).status_code == 200
