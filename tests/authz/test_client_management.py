"""`/register/{client_id}` (RFC 7592): an app reads, changes and ends its registration, and nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from assent.app import Assent, build
from authz import tables
from authz.client_changes import new_registration_token
from authz.clients import disable_client
from authz.initial_access_tokens import create_initial_token, use_initial_token
from authz.opaque_secret import hash_of
from tests.assent.commands import CommandLine
from tests.clients.key_server import key_server
from tests.conformance.launching import ASSERTION_TYPE, Launch, assertion, key_pair, register
from tests.leaks.world import REDIRECT, World, client_of, observation, patient, settings_for, world

EC, PRIVATE = key_pair("ES384")
NEW, NEW_PRIVATE = key_pair("ES384", "k1")
GOOD: dict[str, Any] = {
    "client_name": "Diary",
    "redirect_uris": [REDIRECT],
    "token_endpoint_auth_method": "none",
    "scope": "launch/patient offline_access patient/*.rs",
}
SERVICE: dict[str, Any] = {
    "client_name": "Service",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "scope": "system/Patient.rs",
}


@dataclass(slots=True)
class Open:
    """A server where registration is open, and a second process of it."""

    world: World
    http: httpx.AsyncClient
    other: httpx.AsyncClient
    assent: Assent

    async def register(self, **change: Any) -> dict[str, Any]:
        answer = await self.http.post("/register", json=GOOD | change)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def send(self, method: str, registered: dict[str, Any], **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        sent = {"client_id": registered["client_id"], **body} if method == "PUT" else None
        return await self.http.request(method, registered["registration_client_uri"], headers=headers, json=sent)

    async def service_token(self, client_id: str, key: bytes, jti: str, http: httpx.AsyncClient | None = None) -> int:
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Patient.rs",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(client_id, key, "ES384", jti=jti),
        }
        answer = await (http or self.http).post("/token", data=form)
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        return answer.status_code


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Open]:
    folder: Path = tmp_path_factory.mktemp("management")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        settings = settings_for(folder, running.upstream).model_copy(update={"open_registration": True})
        processes = [await build(settings, running.database_url) for _ in range(2)]
        try:
            async with client_of(processes[0]) as http, client_of(processes[1]) as other:
                opened = World(
                    processes[0], http, running.account, running.text, folder, running.upstream, running.database_url
                )
                yield Open(opened, http, other, processes[0])
        finally:
            for process in processes:
                await process.aclose()


async def _row(server: Open, client_id: str) -> Any:
    async with server.assent.engine.connect() as connection:
        query = select(tables.client).where(tables.client.c.client_id == client_id)
        return (await connection.execute(query)).one()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [EC]}},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks"},
    ],
)
async def test_an_app_reads_what_it_registered_but_not_its_secret(server: Open, change: dict[str, Any]) -> None:
    registered = await server.register(**change)
    assert registered["registration_client_uri"].endswith(f"/register/{registered['client_id']}")
    answer = await server.send("GET", registered)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    kept = {name: value for name, value in registered.items() if not name.startswith("client_secret")}
    method = {"token_endpoint_auth_method": answer.json()["token_endpoint_auth_method"]}
    assert answer.json() == kept | method
    assert "client_secret" not in answer.json()


async def test_of_the_registration_token_only_a_hash_is_kept(server: Open) -> None:
    registered = await server.register()
    assert len(registered["registration_access_token"]) >= 43
    assert registered["registration_access_token"] not in str(tuple(await _row(server, registered["client_id"])))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_without_the_clients_own_token_there_is_one_answer_whether_the_client_exists(
    server: Open, method: str
) -> None:
    own, another = await server.register(), await server.register()
    operators, _ = await register(server.world)
    disabled = await server.register()
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, disabled["client_id"], server.assent.authz.clock())
    answers = []
    for client_id, token in (
        (own["client_id"], another["registration_access_token"]),
        (own["client_id"], own["client_id"]),
        (own["client_id"], ""),
        (operators, another["registration_access_token"]),
        (operators, ""),
        ("nobody", another["registration_access_token"]),
        ("nobody", ""),
        ("n%00body", "x"),
        ("x" * 5_000, "x"),
        (disabled["client_id"], disabled["registration_access_token"]),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await server.http.request(method, f"/register/{client_id}", headers=headers, content=b"not json")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
        answers.append(answer.content)
    assert len(set(answers)) == 1
    for headers in ({}, {"Authorization": "Basic eDp5"}):
        answer = await server.http.request(method, f"/register/{own['client_id']}", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await server.send("GET", own)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_methods_are_not_there(server: Open, method: str) -> None:
    registered = await server.register()
    assert (await server.send(method, registered)).status_code == 405


async def test_a_change_takes_the_place_of_what_was_registered(server: Open) -> None:
    registered = await server.register()
    changed = {"client_name": "Journal", "redirect_uris": ["https://app.example/new"], "scope": "openid"}
    answer = await server.send("PUT", registered, **GOOD | changed)
    assert answer.status_code == 200
    assert answer.json() == registered | changed
    assert (await server.send("GET", registered)).json() == registered | changed
    query = {"response_type": "code", "client_id": registered["client_id"]}
    for uri, status in ((REDIRECT, 400), ("https://app.example/new", 303)):
        there = await server.http.get("/authorize", params={**query, "redirect_uri": uri})
        assert there.status_code == status


async def test_what_only_the_operator_gives_stays(server: Open) -> None:
    registered = await server.register()
    async with server.assent.engine.begin() as connection:
        await connection.execute(
            tables.client.update()
            .where(tables.client.c.client_id == registered["client_id"])
            .values(purposes=["TREAT", "PATRQT"])
        )
    assert (await server.send("PUT", registered, **GOOD, purposes=["HRESCH"])).status_code == 200
    assert (await _row(server, registered["client_id"])).purposes == ["TREAT", "PATRQT"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "another"}, "invalid_client_metadata"),
        ({"client_id": None}, "invalid_client_metadata"),
        ({"registration_access_token": "x"}, "invalid_client_metadata"),
        ({"registration_client_uri": "https://assent.example/register/x"}, "invalid_client_metadata"),
        ({"client_secret_expires_at": 0}, "invalid_client_metadata"),
        ({"client_id_issued_at": 0}, "invalid_client_metadata"),
        ({"client_secret": "not the secret"}, "invalid_client_metadata"),
        ({"client_secret": 5}, "invalid_client_metadata"),
        ({"scope": "openid assent/introspect"}, "invalid_client_metadata"),
        ({"redirect_uris": ["http://app.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"client_name": "\u202e"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"jwks": {"keys": [EC]}, "jwks_uri": "https://app.example/jwks"}, "invalid_client_metadata"),
    ],
)
async def test_a_change_that_can_not_be_taken_changes_nothing(server: Open, change: dict[str, Any], error: str) -> None:
    registered = await server.register()
    answer = await server.send("PUT", registered, **{**GOOD, "client_name": "Changed", **change})
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert (await server.send("GET", registered)).json() == registered


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"[]", 400), (b"{", 400), (b"{" + b" " * 70_000 + b"}", 413)]
)
async def test_a_change_that_is_no_object_is_refused(server: Open, body: bytes, status: int) -> None:
    registered = await server.register()
    headers = {"Authorization": f"Bearer {registered['registration_access_token']}"}
    answer = await server.http.put(registered["registration_client_uri"], headers=headers, content=body)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_client_metadata")


async def test_a_secret_stays_until_the_method_changes_and_a_new_one_is_shown_once(server: Open) -> None:
    by_secret = {"token_endpoint_auth_method": "client_secret_basic"}
    registered = await server.register(**by_secret)
    same = await server.send("PUT", registered, **GOOD | by_secret, client_secret=registered["client_secret"])
    assert same.status_code == 200
    assert "client_secret" not in same.json()

    async def secret_works(secret: str) -> bool:
        answer = await server.http.post("/revoke", data={"token": "x"}, auth=(registered["client_id"], secret))
        return answer.status_code == 200

    assert await secret_works(registered["client_secret"])
    public = {"token_endpoint_auth_method": "none"}
    assert (await server.send("PUT", registered, **GOOD)).json().items() >= public.items()
    assert not await secret_works(registered["client_secret"])
    again = (await server.send("PUT", registered, **GOOD | by_secret)).json()
    assert again["client_secret"] != registered["client_secret"]
    assert await secret_works(again["client_secret"])
    assert not await secret_works(registered["client_secret"])


async def test_an_app_replaces_its_keys_in_every_process_at_once(server: Open) -> None:
    registered = await server.register(**SERVICE, jwks={"keys": [EC]})
    client_id = registered["client_id"]
    assert await server.service_token(client_id, PRIVATE, "1", server.other) == 200
    assert (await server.send("PUT", registered, **SERVICE, jwks={"keys": [NEW]})).status_code == 200
    for http in (server.http, server.other):
        assert await server.service_token(client_id, PRIVATE, f"old {id(http)}", http) == 401
        assert await server.service_token(client_id, NEW_PRIVATE, f"new {id(http)}", http) == 200


async def test_an_app_moves_from_keys_to_an_address_and_back(server: Open) -> None:
    registered = await server.register(**SERVICE, jwks={"keys": [EC]})
    client_id = registered["client_id"]
    async with key_server() as keys:
        keys.serve([NEW], Cache_Control="max-age=600")
        moved = await server.send("PUT", registered, **SERVICE, jwks_uri=keys.url)
        assert (moved.status_code, moved.json()["jwks_uri"], "jwks" in moved.json()) == (200, keys.url, False)
        assert await server.service_token(client_id, PRIVATE, "1") == 401
        assert await server.service_token(client_id, NEW_PRIVATE, "2") == 200
        back = await server.send("PUT", registered, **SERVICE, jwks={"keys": [EC]})
        assert (back.status_code, "jwks_uri" in back.json()) == (200, False)
        assert await server.service_token(client_id, NEW_PRIVATE, "3") == 401
        assert await server.service_token(client_id, PRIVATE, "4") == 200


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
        await asyncio.sleep(0.3)  # what is kept is forgotten when the announcement arrives
        assert await server.service_token(client_id, PRIVATE, "3", server.other) == 401
        assert await server.service_token(client_id, NEW_PRIVATE, "4", server.other) == 200
        done = await command.run("client", "keys", client_id, "--jwks", str(file))
        assert done.exit_code == 0, done.output
        for http in (server.http, server.other):
            assert await server.service_token(client_id, NEW_PRIVATE, f"5 {id(http)}", http) == 401
            assert await server.service_token(client_id, PRIVATE, f"6 {id(http)}", http) == 200


async def test_when_registration_is_closed_apps_change_only_their_keys(server: Open) -> None:
    registered = await server.register(**SERVICE, jwks={"keys": [EC]})
    closed = await build(settings_for(server.world.folder, server.world.upstream), server.world.database_url)
    try:
        async with client_of(closed) as http:
            shut = Open(server.world, http, http, closed)
            same = GOOD | SERVICE | {"jwks": {"keys": [NEW]}}
            for change in (
                {"client_name": "Changed"},
                {"scope": "system/*.rs"},
                {"redirect_uris": ["https://app.example/other"]},
                {"grant_types": ["authorization_code"]},
                {"token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code"]},
            ):
                answer = await shut.send("PUT", registered, **{**same, **change})
                assert (answer.status_code, answer.json()["error"]) == (403, "access_denied"), change
            assert (await shut.send("GET", registered)).json() == registered
            answer = await shut.send("PUT", registered, **same)
            assert (answer.status_code, answer.json()["jwks"]) == (200, {"keys": [NEW]})
            assert (await shut.send("DELETE", registered)).status_code == 204
    finally:
        await closed.aclose()


async def test_who_has_the_operators_token_registers_while_registration_is_closed(server: Open) -> None:
    command = CommandLine(server.world.database_url, server.world.folder)
    made = await command.run("client", "registration-token", "--uses", "2", "--json")
    token = json.loads(made.stdout)["registration_token"]
    closed = await build(settings_for(server.world.folder, server.world.upstream), server.world.database_url)
    try:
        async with client_of(closed) as http:

            async def asked(bearer: str | None, **change: Any) -> httpx.Response:
                headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
                return await http.post("/register", json=GOOD | change, headers=headers)

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
    finally:
        await closed.aclose()


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


async def test_an_app_that_ends_its_registration_has_nothing_left_in_any_process(server: Open) -> None:
    registered = await server.register()
    app = await Launch(server.world, registered["client_id"], None, GOOD["scope"]).app(["laboratory"])
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    for http in (server.http, server.other):
        assert (await http.get("/fhir/Observation/lab0", headers=bearer)).status_code == 200
    ended = await server.send("DELETE", registered)
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await server.http.get("/fhir/Observation/lab0", headers=bearer)).status_code == 401
    for _ in range(20):
        status = (await server.other.get("/fhir/Observation/lab0", headers=bearer)).status_code
        if status == 401:
            break
        await asyncio.sleep(0.05)
    assert status == 401
    form = {
        "grant_type": "refresh_token",
        "refresh_token": app.token["refresh_token"],
        "client_id": registered["client_id"],
    }
    refused = await server.http.post("/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    for method in ("GET", "PUT", "DELETE"):
        assert (await server.send(method, registered, **GOOD)).status_code == 401
    async with server.assent.engine.connect() as connection:
        g = tables.grant.c
        grants = await connection.execute(select(g.revoked_at).where(g.client_id == registered["client_id"]))
    assert all(row.revoked_at is not None for row in grants)


async def test_an_app_ends_nothing_of_another(server: Open) -> None:
    registered, another = await server.register(), await server.register()
    app = await Launch(server.world, another["client_id"], None, GOOD["scope"]).app(["laboratory"])
    assert (await server.send("DELETE", registered)).status_code == 204
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await server.send("GET", another)).status_code == 200


async def test_a_new_registration_token_ends_the_one_before(server: Open) -> None:
    registered = await server.register()
    async with server.assent.engine.begin() as connection:
        token = await new_registration_token(connection, registered["client_id"])
    assert (await server.send("GET", registered)).status_code == 401
    assert (await server.send("GET", registered | {"registration_access_token": token})).status_code == 200
