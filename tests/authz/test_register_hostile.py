"""`/register` where it is open: what it takes, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.routing import Route

from authz import tables
from authz.clients.registration import RegistrationEndpoint
from tests.leaks.world import World, patient, world

GOOD: dict[str, Any] = {
    "client_name": "Diary",
    "redirect_uris": ["https://app.example/callback"],
    "token_endpoint_auth_method": "none",
    "scope": "launch/patient patient/*.rs",
}
EC_KEY: dict[str, Any] = {**ECKey.generate_key("P-384").as_dict(private=False), "kid": "1"}
BY_SECRET = {"token_endpoint_auth_method": "client_secret_post"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("register")
    async with world(await make_database(), folder, [patient("ana")]) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(server: World) -> AsyncIterator[httpx.AsyncClient]:
    """The endpoint, opened."""
    opened = RegistrationEndpoint(replace(server.assent.authz, open_registration=True))
    app = Starlette(routes=[Route("/register", opened.__call__, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://assent.test") as client:
        yield client


async def clients(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(tables.client)) or 0)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example/callback?tenant=1",
        "https://app.example:8443/",
        "http://localhost:3000/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:9/callback",
    ],
)
async def test_a_safe_redirect_uri_is_registered_as_it_is(http: httpx.AsyncClient, uri: str) -> None:
    answer = await http.post("/register", json={**GOOD, "redirect_uris": [uri]})
    assert answer.status_code == 201
    assert answer.json()["redirect_uris"] == [uri]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/callback",
        "http://localhost.app.example/callback",
        "http://127.0.0.1.app.example/callback",
        "http://app.example@localhost/callback",
        "https://user@app.example/callback",
        "https://user:password@app.example/callback",
        "https://app.example/callback#fragment",
        "https://app.example/callback#",
        "https://*.app.example/callback",
        "https://app.example/*",
        "https:///callback",
        "https://app.example/call back",
        "https://app.example/call\tback",
        "https://app.example\\@evil.example/",
        "https://app.exämple/callback",
        "https://[::1/callback",
        "//app.example/callback",
        "/callback",
        "callback",
        "",
        "javascript:alert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "app.example.diary:/callback",
        "https://app.example/" + "x" * 2_000,
    ],
)
async def test_an_unsafe_redirect_uri_is_refused_by_name(server: World, http: httpx.AsyncClient, uri: str) -> None:
    before = await clients(server)
    answer = await http.post("/register", json={**GOOD, "redirect_uris": ["https://app.example/", uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
    assert await clients(server) == before


@pytest.mark.parametrize("uri", ["https://app.example/\x00", "https://app.example/é", 'http://"\\', "\u202e://x"])
async def test_what_an_error_repeats_of_a_request_is_plain_ascii(http: httpx.AsyncClient, uri: str) -> None:
    """RFC 6749 §5.2: neither control characters nor quotation marks nor backslashes."""
    answer = await http.post("/register", json={**GOOD, "redirect_uris": [uri]})
    assert answer.json()["error"] == "invalid_redirect_uri"
    assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", answer.json()["error_description"])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/"] * 21}, "invalid_redirect_uri"),
        ({"post_logout_redirect_uris": ["https://app.example/"] * 21}, "invalid_redirect_uri"),
        ({"post_logout_redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"post_logout_redirect_uris": "https://app.example/"}, "invalid_client_metadata"),
        ({"redirect_uris": "https://app.example/"}, "invalid_client_metadata"),
        ({"redirect_uris": [None]}, "invalid_client_metadata"),
        ({"redirect_uris": None}, "invalid_client_metadata"),
        ({"authorization_details_types": ["urn:assent:consent"]}, None),
        ({"authorization_details_types": []}, None),
        ({"authorization_details_types": ["payment_initiation"]}, "invalid_client_metadata"),
        ({"authorization_details_types": "urn:assent:consent"}, "invalid_client_metadata"),
        ({"authorization_details_types": [5]}, "invalid_client_metadata"),
        ({"authorization_details_types": None}, "invalid_client_metadata"),
        ({"client_name": ""}, None),
        ({"client_name": " "}, "invalid_client_metadata"),
        ({"client_name": "x" * 101}, "invalid_client_metadata"),
        ({"client_name": "Diary\n"}, "invalid_client_metadata"),
        ({"client_name": "\u202eyraiD"}, "invalid_client_metadata"),
        ({"client_name": 5}, "invalid_client_metadata"),
        ({"purpose_of_use": ["TREAT", "HRESCH"]}, None),
        ({"purpose_of_use": []}, "invalid_client_metadata"),
        ({"purpose_of_use": "TREAT"}, "invalid_client_metadata"),
        ({"purpose_of_use": None}, "invalid_client_metadata"),
        ({"purpose_of_use": ["TREAT", "ANYTHING"]}, "invalid_client_metadata"),
        ({"purpose_of_use": [{"code": "TREAT"}]}, "invalid_client_metadata"),
        ({"purpose_of_use": ["TREAT", "BTG"]}, "invalid_client_metadata"),
        ({"scope": ["openid"]}, "invalid_client_metadata"),
        ({"scope": "x" * 4_001}, "invalid_client_metadata"),
        ({"scope": "openid \x00"}, "invalid_client_metadata"),
        ({"scope": "openid\nfhirUser"}, "invalid_client_metadata"),
        ({"scope": 'openid "'}, "invalid_client_metadata"),
        ({"scope": "openid \\"}, "invalid_client_metadata"),
        ({"scope": "\u202eopenid"}, "invalid_client_metadata"),
        ({"scope": ""}, None),
        ({"scope": "patient/Observation.rs?category=http://loinc.org|1~2&code=a%20b"}, None),
        ({"scope": "assent/introspect"}, "invalid_client_metadata"),
        ({"scope": "openid assent/launch.c"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": None}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"], **BY_SECRET}, "invalid_client_metadata"),
    ],
)
async def test_unusable_metadata_is_refused(
    server: World, http: httpx.AsyncClient, change: dict[str, Any], error: str | None
) -> None:
    before = await clients(server)
    answer = await http.post("/register", json={**GOOD, **change})
    if error is None:
        assert answer.status_code == 201
        return
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert await clients(server) == before


async def test_metadata_in_which_a_member_stands_twice_are_refused(server: World, http: httpx.AsyncClient) -> None:
    before = await clients(server)
    body = json.dumps(GOOD)[:-1] + ', "redirect_uris": ["https://other.example/callback"]}'
    answer = await http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert await clients(server) == before


@pytest.mark.parametrize(
    ("jwks", "status"),
    [
        ({"keys": []}, 400),
        ({"keys": "none"}, 400),
        ({}, 400),
        ("https://app.example/jwks", 400),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}, 400),
        ({"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c", "kid": "1"}]}, 400),
        ({"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}]}, 400),
        ({"keys": [5]}, 400),
        ({"keys": [{**EC_KEY, "kid": "\x00"}]}, 400),
        ({"keys": [{**EC_KEY, "note": "\x00"}]}, 400),
        ({"keys": [{**EC_KEY, "\x00": 1}]}, 400),
        ({"keys": [EC_KEY], "note": ["\x00"]}, 400),
        ({"keys": [{"kty": "RSA", "n": "a", "e": "AQAB", "kid": str(n)} for n in range(21)]}, 400),
    ],
)
async def test_unusable_keys_are_refused(http: httpx.AsyncClient, jwks: object, status: int) -> None:
    asked = {**GOOD, "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks}
    answer = await http.post("/register", json=asked)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_client_metadata")


@pytest.mark.parametrize(
    ("note", "status"),
    [
        ("1e400", 400),
        ("-1e400", 400),
        ("9" * 5_000, 400),
        ("[" * 500 + "]" * 500, 201),
        ("[" * 5_000 + "]" * 5_000, 400),
        ('"\\ud800"', 400),
        ("NaN", 400),
        ("0.10", 201),
    ],
)
async def test_what_strangers_add_to_a_key_is_kept_or_refused(http: httpx.AsyncClient, note: str, status: int) -> None:
    """RFC 7517 §4: what isn't understood is ignored; what no database holds can't be kept."""
    asked = {**GOOD, "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{**EC_KEY, "note": "?"}]}}
    body = json.dumps(asked).replace('"?"', note)
    answer = await http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "keys",
    [
        {"jwks_uri": "http://app.example/jwks"},
        {"jwks_uri": "https://app.example:8443/jwks"},
        {"jwks_uri": "https://10.0.0.1/jwks"},
        {"jwks_uri": "https://user@app.example/jwks"},
        {"jwks_uri": "https://app.example/jwks#x"},
        {"jwks_uri": ""},
        {"jwks_uri": 5},
        {"jwks_uri": ["https://app.example/jwks"]},
        {"jwks_uri": "https://app.example/jwks", "jwks": {"keys": []}},
        {"jwks_uri": "https://app.example/jwks", "jwks": {}, "token_endpoint_auth_method": "none"},
    ],
)
async def test_an_unusable_address_of_keys_is_refused(
    server: World, http: httpx.AsyncClient, keys: dict[str, Any]
) -> None:
    before = await clients(server)
    answer = await http.post("/register", json={**GOOD, "token_endpoint_auth_method": "private_key_jwt", **keys})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert await clients(server) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"a":' * 5_000, 400),
        (b'{"client_name":"' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_a_body_that_is_no_object_is_refused(http: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_client_metadata")


async def test_a_confidential_app_learns_its_secret_once_and_only_its_hash_is_kept(
    server: World, http: httpx.AsyncClient
) -> None:
    answer = (await http.post("/register", json={**GOOD, **BY_SECRET})).json()
    async with server.assent.engine.connect() as connection:
        found = select(tables.client).where(tables.client.c.client_id == answer["client_id"])
        row = (await connection.execute(found)).one()
    assert len(answer["client_secret"]) >= 43
    assert answer["client_secret"] not in str(tuple(row))
    assert answer.items() >= BY_SECRET.items()
