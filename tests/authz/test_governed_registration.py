"""Registrations that the operator governs: replaced keys, closed registration, tokens for registering."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from authz import tables
from authz.clients.initial_access_tokens import create_initial_token, use_initial_token
from authz.opaque_secret import hash_of
from tests.assent.commands import CommandLine
from tests.authz.open_registration import GOOD, SERVICE, Open, closed_server, open_server
from tests.clients.key_server import key_server
from tests.conformance.launching import key_pair

EC, PRIVATE = key_pair("ES384")
NEW, NEW_PRIVATE = key_pair("ES384")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Open]:
    async with open_server(await make_database(), tmp_path_factory.mktemp("registration")) as running:
        yield running


async def test_keys_that_the_operator_replaces_count_in_every_process_at_once(server: Open, tmp_path: Path) -> None:
    command = CommandLine(server.world.database_url, server.world.folder)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [EC]}))
    async with key_server() as keys:
        keys.serve([EC], Cache_Control="max-age=600")
        registered = await server.register(**SERVICE, jwks_uri=keys.url)
        client_id = registered["client_id"]
        assert await server.service_token(client_id, PRIVATE, "1", server.other) == 200
        keys.serve([NEW], Cache_Control="max-age=600")
        assert await server.service_token(client_id, PRIVATE, "2", server.other) == 200
        done = await command.run("client", "keys", client_id, "--jwks-url", keys.url)
        assert done.exit_code == 0, done.output
        for attempt in range(40):  # what is kept is forgotten when the announcement arrives
            if await server.service_token(client_id, PRIVATE, f"3 {attempt}", server.other) == 401:
                break
            await asyncio.sleep(0.05)
        assert await server.service_token(client_id, PRIVATE, "3", server.other) == 401
        assert await server.service_token(client_id, NEW_PRIVATE, "4", server.other) == 200
        done = await command.run("client", "keys", client_id, "--jwks", str(file))
        assert done.exit_code == 0, done.output
        for http in (server.http, server.other):
            assert await server.service_token(client_id, NEW_PRIVATE, f"5 {id(http)}", http) == 401
            assert await server.service_token(client_id, PRIVATE, f"6 {id(http)}", http) == 200


async def test_when_registration_is_closed_apps_change_only_their_keys(server: Open) -> None:
    registered = await server.register(**SERVICE, jwks={"keys": [EC]})
    async with closed_server(server) as shut:
        same = GOOD | SERVICE | {"jwks": {"keys": [NEW]}}
        for change in (
            {"client_name": "Changed"},
            {"scope": "system/*.rs"},
            {"redirect_uris": ["https://app.example/other"]},
            {"grant_types": ["authorization_code"]},
            {"token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code"]},
            {"dpop_bound_access_tokens": True},
            {"purpose_of_use": ["TREAT"]},
        ):
            answer = await shut.send("PUT", registered, **{**same, **change})
            assert (answer.status_code, answer.json()["error"]) == (403, "access_denied"), change
        assert (await shut.send("GET", registered)).json() == registered
        answer = await shut.send("PUT", registered, **same)
        assert (answer.status_code, answer.json()["jwks"]) == (200, {"keys": [NEW]})
        assert (await shut.send("DELETE", registered)).status_code == 204


async def test_who_has_the_operators_token_registers_while_registration_is_closed(server: Open) -> None:
    command = CommandLine(server.world.database_url, server.world.folder)
    made = await command.run("client", "registration-token", "--uses", "2", "--json")
    token = json.loads(made.stdout)["registration_token"]
    async with closed_server(server) as shut:

        async def asked(bearer: str | None, **change: Any) -> httpx.Response:
            headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
            return await shut.http.post("/register", json=GOOD | change, headers=headers)

        nobody = await asked(None)
        assert (nobody.status_code, nobody.json()["error"]) == (403, "access_denied")
        for wrong in ("guess", "", token[:-1]):
            refused = await asked(wrong)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        # What was refused has used nothing up.
        assert (await asked(token, redirect_uris=[])).status_code == 400
        assert (await asked(token, scope="assent/introspect")).status_code == 400
        assert (await asked(token)).status_code == 201
        together = await asyncio.gather(*(asked(token) for _ in range(3)))
        assert sorted(answer.status_code for answer in together) == [201, 401, 401]
        opened = await server.http.post("/register", json=GOOD, headers={"Authorization": f"Bearer {token}"})
        assert opened.status_code == 401


async def test_a_token_for_registering_expires_and_is_kept_as_a_hash(server: Open) -> None:
    now, table = server.assent.authz.clock(), tables.initial_access_token
    async with server.assent.engine.begin() as connection:
        token = await create_initial_token(connection, uses=1, lifetime=timedelta(days=1), now=now)
        rows = (await connection.execute(select(table))).all()
        assert hash_of(token) in {row.token_hash for row in rows}
        assert token not in str(rows)
        assert not await use_initial_token(connection, token, now + timedelta(days=1))
        await create_initial_token(connection, uses=1, lifetime=timedelta(days=1), now=now + timedelta(days=1))
        assert hash_of(token) not in set((await connection.execute(select(table.c.token_hash))).scalars())
