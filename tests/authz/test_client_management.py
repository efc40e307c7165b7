"""`/register/{client_id}` (RFC 7592): an app reads, changes and ends its registration, and nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from authz import tables
from authz.clients.changes import new_registration_token
from authz.clients.clients import DPOP, PUSHED, REQUIREMENTS, SIGNED, disable_client
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from tests.authz.open_registration import GOOD, SERVICE, Open, open_server
from tests.clients.key_server import key_server
from tests.conformance.launching import Launch, key_pair, register
from tests.leaks.world import REDIRECT

EC, PRIVATE = key_pair("ES384")
NEW, NEW_PRIVATE = key_pair("ES384", "k1")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Open]:
    async with open_server(await make_database(), tmp_path_factory.mktemp("registration")) as running:
        yield running


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


async def test_what_an_app_does_to_its_registration_is_on_record(server: Open) -> None:
    registered = await server.register()
    assert (await server.send("PUT", registered, **(GOOD | {"client_name": "Renamed"}))).status_code == 200
    assert (await server.send("PUT", registered, **(GOOD | {"client_id": "another"}))).status_code == 400
    assert (await server.send("DELETE", registered)).status_code == 204
    await server.assent.audit.settle()
    query = parse_search("AuditEvent", [("_count", "500")], load_definitions(), max_count=500)
    stored = [json.loads(one.body) for one in (await server.assent.authz.repository.search(query)).matches]
    mine = [event for event in stored if registered["client_id"] in json.dumps(event["agent"])]
    assert sorted((event["subtype"][0]["code"], event["action"]) for event in mine) == [
        ("app", "C"),
        ("app", "D"),
        ("app", "U"),
    ]


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


async def test_an_app_demands_the_security_profile_of_itself_and_may_stop(server: Open) -> None:
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [EC]}}
    registered = await server.register(**keys, **dict.fromkeys(REQUIREMENTS, True))
    assert all(registered[name] is True for name in REQUIREMENTS)
    assert set((await _row(server, registered["client_id"])).requires) == set(REQUIREMENTS)
    assert (await server.send("GET", registered)).json() == registered
    answer = await server.send("PUT", registered, **GOOD | keys | {DPOP: True, PUSHED: False})
    assert answer.status_code == 200
    assert {name for name in REQUIREMENTS if answer.json().get(name)} == {DPOP}
    assert (await _row(server, registered["client_id"])).requires == [DPOP]


@pytest.mark.parametrize(
    "change", [{DPOP: "true"}, {DPOP: None}, {PUSHED: 1}, {SIGNED: ["yes"]}, {SIGNED: True}, {DPOP: {}}]
)
async def test_a_demand_that_is_none_is_refused(server: Open, change: dict[str, Any]) -> None:
    answer = await server.http.post("/register", json=GOOD | change)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


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


async def test_an_app_names_the_purposes_for_which_it_works_and_asks_for_the_first(server: Open) -> None:
    plain, named = await server.register(), await server.register(purpose_of_use=["HRESCH", "TREAT", "HRESCH"])
    assert (plain["purpose_of_use"], named["purpose_of_use"]) == (["PATRQT"], ["HRESCH", "TREAT"])
    for registered, purpose, refused in ((plain, "PATRQT", "HRESCH"), (named, "HRESCH", "PATRQT")):
        asked = Launch(server.world, registered["client_id"], None)
        assert "request=" in (await asked.authorize(purpose_of_use=purpose)).headers["location"]
        wrong = await asked.authorize(purpose_of_use=refused)
        assert "error=invalid_request" in wrong.headers["location"]
        token = (await asked.exchange(await asked.allow(await asked.authorize(), ["laboratory"]))).json()
        async with server.assent.engine.connect() as connection:
            kept = select(tables.grant.c.purpose).where(tables.grant.c.client_id == registered["client_id"])
            assert list((await connection.execute(kept)).scalars()) == [purpose]
        assert token["patient"] == "ana"


async def test_purposes_change_when_they_are_named_again_and_stay_when_not(server: Open) -> None:
    registered = await server.register(purpose_of_use=["HRESCH"])
    assert (await server.send("PUT", registered, **GOOD)).json() == registered
    changed = await server.send("PUT", registered, **GOOD, purpose_of_use=["TREAT"])
    assert (changed.status_code, changed.json()["purpose_of_use"]) == (200, ["TREAT"])
    assert (await server.send("GET", registered)).json()["purpose_of_use"] == ["TREAT"]


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
        ({"purpose_of_use": ["BTG"]}, "invalid_client_metadata"),
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
