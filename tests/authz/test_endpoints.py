"""The OAuth endpoints, whole: right paths verified by a second implementation, wrong ones with their exact error."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import pytest_asyncio
from jose import jwt as jose_jwt
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import func, select

from authz import tables
from authz.clients.clients import NewClient, add_client, disable_client
from authz.consents.decisions import Choice, Decisions
from authz.tokens.signing_keys import SigningKeys
from tests.leaks.world import ISSUER, REDIRECT, App, World, observation, patient, world
from tests.waiting import soon

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("authz")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


async def _client(server: World, **more: Any) -> tuple[str, str | None]:
    new = NewClient(**{"name": "App", "kind": "public", "redirect_uris": (REDIRECT,), **more})
    async with server.assent.engine.begin() as connection:
        client, secret = await add_client(connection, new, server.assent.authz.clock())
    return client.client_id, secret


def _request(client_id: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "scope": "launch/patient patient/*.rs",
        "state": "st&te",
        "aud": f"{ISSUER}/fhir",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


def _with(query: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**query, **change}.items() if value is not None}


async def _stored_requests(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        return int(
            (await connection.execute(select(func.count()).select_from(tables.authorization_request))).scalar_one()
        )


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"client_id": "x" * 500},
        {"redirect_uri": "http://localhost:9090/callback/"},
        {"redirect_uri": "http://localhost:9090/callback?x=1"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://localhost:9091/callback"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
@pytest.mark.smart(18)
async def test_a_wrong_client_or_redirect_uri_is_never_redirected_to(
    server: World, change: dict[str, str | None]
) -> None:
    client_id, _ = await _client(server)
    before = await _stored_requests(server)
    answer = await server.http.get("/authorize", params=_with(_request(client_id), change))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert await _stored_requests(server) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://elsewhere.example/fhir"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "bogus"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"purpose_of_use": "HRESCH"}, "invalid_request"),
        ({"request": "e30."}, "invalid_request_object"),
        ({"request_uri": "https://app.example/request"}, "request_uri_not_supported"),
        ({"request": "e30.", "request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"launch": "forged"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "everything"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1e3"}, "invalid_request"),
        ({"max_age": "9" * 40}, "invalid_request"),
    ],
)
@pytest.mark.smart(15, 59, 213)
async def test_other_mistakes_go_back_to_the_app_with_state_and_issuer(
    server: World, change: dict[str, str | None], error: str
) -> None:
    client_id, _ = await _client(server)
    before = await _stored_requests(server)
    answer = await server.http.get("/authorize", params=_with(_request(client_id), change))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(REDIRECT + "?")
    given = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (given["error"], given["state"], given["iss"]) == ([error], ["st&te"], [ISSUER])
    assert await _stored_requests(server) == before


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "scope", "state", "aud", "code_challenge"])
async def test_a_parameter_that_stands_twice_is_refused_without_redirect(server: World, name: str) -> None:
    client_id, _ = await _client(server)
    query = urlencode([*_request(client_id).items(), (name, "again")])
    answer = await server.http.get(f"/authorize?{query}")
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.smart(80, 200, 207, 209, 210)
async def test_tokens_verify_with_a_second_implementation(server: World) -> None:
    app = await server.app(["laboratory"], scope="openid fhirUser launch/patient offline_access patient/*.rs")
    keys = (await server.http.get("/jwks")).json()
    access = _verified(app.token["access_token"], keys, "ES256", f"{ISSUER}/fhir")
    assert access["client_id"] == app.client_id
    assert access["patient"] == app.token["patient"] == "ana"
    identity = _verified(app.token["id_token"], keys, "RS256", app.client_id)
    assert identity["fhirUser"] == f"{ISSUER}/fhir/Patient/ana"
    assert all("d" not in key for key in keys["keys"])


def _verified(token: str, keys: dict[str, Any], alg: str, audience: str) -> dict[str, Any]:
    """Claims, by python-jose; it takes the one key that the token names."""
    kid = jose_jwt.get_unverified_header(token)["kid"]
    key = next(key for key in keys["keys"] if key["kid"] == kid)
    return dict(jose_jwt.decode(token, key, algorithms=[alg], audience=audience, issuer=ISSUER))


async def _code(server: World, client_id: str) -> dict[str, str]:
    """A form that would get tokens, for a decision just made."""
    app = await server.app(["laboratory"])  # makes sure that the account and the flow work
    assert app.token["access_token"]
    query = urlencode(_request(client_id))
    handle = parse_qs(urlsplit((await server.http.get(f"/authorize?{query}")).headers["location"]).query)["request"][0]
    context = server.assent.authz
    from authz.authorize.requests import choose_patient, find_request

    async with server.assent.engine.begin() as connection:
        pending = await find_request(connection, handle, server.account.id, context.clock())
        assert pending is not None
        await choose_patient(connection, pending, "ana")
        pending = await find_request(connection, handle, server.account.id, context.clock())
        assert pending is not None
    choice = Choice(("laboratory",), ("laboratory",), None, server.text)
    url = await Decisions(context).allow(pending, server.account, context.clock(), choice, "test")
    code = parse_qs(urlsplit(url).query)["code"][0]
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": client_id,
        "code_verifier": VERIFIER,
    }


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 400, "unauthorized_client"),
        ({"code": None}, 400, "invalid_request"),
        ({"code": "unknown"}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_request"),
        ({"code_verifier": "w" * 50}, 400, "invalid_grant"),
        ({"code_verifier": "short"}, 400, "invalid_grant"),
        ({"code_verifier": CHALLENGE}, 400, "invalid_grant"),
        ({"redirect_uri": "http://localhost:9090/other"}, 400, "invalid_grant"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_secret": "guess"}, 401, "invalid_client"),
    ],
)
@pytest.mark.smart(31, 86, 251)
async def test_a_wrong_token_request_is_refused_and_leaves_the_code_good(
    server: World, change: Mapping[str, str | None], status: int, error: str
) -> None:
    client_id, _ = await _client(server)
    form = await _code(server, client_id)
    answer = await server.http.post("/token", data=_with(form, change))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"
    assert (await server.http.post("/token", data=form)).status_code == 200


async def test_another_clients_code_is_refused_and_stays_good(server: World) -> None:
    (mine, _), (other, _) = await _client(server), await _client(server)
    form = await _code(server, mine)
    answer = await server.http.post("/token", data={**form, "client_id": other})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await server.http.post("/token", data=form)).status_code == 200


async def test_a_code_used_twice_ends_what_it_gave(server: World) -> None:
    client_id, _ = await _client(server)
    form = await _code(server, client_id)
    token = (await server.http.post("/token", data=form)).json()
    app = App(server, client_id, token)
    assert (await app.get("Observation/lab0")).status_code == 200
    again = await server.http.post("/token", data=form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await app.get("Observation/lab0")).status_code == 401


async def test_of_two_exchanges_at_once_one_wins(server: World) -> None:
    client_id, _ = await _client(server)
    form = await _code(server, client_id)
    answers = await asyncio.gather(*(server.http.post("/token", data=form) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [200, 400, 400, 400]


@pytest.mark.smart(116)
async def test_a_refresh_token_used_twice_ends_the_family(server: World) -> None:
    app = await server.app(["laboratory"])
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    fresh = (await server.http.post("/token", data=form)).json()
    assert fresh["refresh_token"] != app.token["refresh_token"]
    assert (await server.http.post("/token", data=form)).json()["error"] == "invalid_grant"
    later = await server.http.post("/token", data={**form, "refresh_token": fresh["refresh_token"]})
    assert (
        later.json()["error"] == "invalid_grant"
        or (await App(server, app.client_id, fresh).get("Observation")).status_code == 401
    )


async def test_a_public_client_may_refresh_without_naming_itself(server: World) -> None:
    app = await server.app(["laboratory"])
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"]}
    assert (await server.http.post("/token", data=form)).status_code == 200


@pytest.mark.smart(104)
async def test_a_refresh_may_ask_for_less_and_not_for_more(server: World) -> None:
    app = await server.app(["laboratory", "conditions"])
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    less = await server.http.post("/token", data={**form, "scope": "patient/Condition.rs"})
    assert less.json()["scope"] == "patient/Condition.rs"
    form["refresh_token"] = less.json()["refresh_token"]
    for scope in ("patient/Immunization.rs", "user/Condition.rs", "user/*.rs", "system/*.rs"):
        more = await server.http.post("/token", data={**form, "scope": scope})
        assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
    detailed = await server.http.post("/token", data={**form, "authorization_details": '[{"type": "x"}]'})
    assert (detailed.status_code, detailed.json()["error"]) == (400, "invalid_authorization_details")


async def test_a_consent_revoked_before_the_token_gives_no_token(server: World) -> None:
    client_id, _ = await _client(server)
    form = await _code(server, client_id)
    consent = await App(server, client_id, {}).consent_id()
    await Decisions(server.assent.authz).revoke(consent, server.account, "test")
    answer = await server.http.post("/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.smart(269, 271, 272, 277)
async def test_introspection_says_what_is_open_now_and_nothing_of_what_is_not(server: World) -> None:
    gateway, secret = await _client(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    app = await server.app(["laboratory", "conditions"])

    async def ask(token: str) -> dict[str, Any]:
        answer = await server.http.post("/introspect", data={"token": token}, auth=(gateway, secret or ""))
        assert answer.status_code == 200
        return dict(answer.json())

    active = await ask(app.token["access_token"])
    assert active["active"] is True
    assert active["patient"] == "ana"
    assert "patient/Condition.rs" in active["scope"].split(" ")
    assert {"client_id", "exp", "iat", "iss", "sub", "aud", "jti", "token_type", "consent", "extensions"} <= set(active)
    choice = Choice(("laboratory",), ("laboratory", "conditions"), None, server.text)
    await Decisions(server.assent.authz).change(await app.consent_id(), server.account, choice, "test")
    assert "patient/Condition.rs" not in (await ask(app.token["access_token"]))["scope"].split(" ")
    await Decisions(server.assent.authz).revoke(await app.consent_id(), server.account, "test")
    assert await ask(app.token["access_token"]) == {"active": False}
    for nonsense in ("x", "a.b.c", app.token["refresh_token"], app.token["access_token"][:-3] + "abc"):
        assert await ask(nonsense) == {"active": False}


@pytest.mark.smart(281)
async def test_an_app_may_not_introspect(server: World) -> None:
    client_id, secret = await _client(server, kind="confidential-symmetric")
    answer = await server.http.post("/introspect", data={"token": "x"}, auth=(client_id, secret or ""))
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
    assert (await server.http.post("/introspect", data={"token": "x"})).status_code == 401


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in (header, claims)]
    return ".".join([*parts, ""])


async def test_forged_access_tokens_open_nothing(server: World) -> None:
    app = await server.app(["laboratory"], scope="openid launch/patient patient/*.rs")
    claims = jose_jwt.get_unverified_claims(app.token["access_token"])
    key = ECKey.generate_key("P-256", private=True).as_pem(private=True)
    forged = [
        _unsigned({"alg": "none", "typ": "at+jwt", "kid": "x"}, claims),
        jose_jwt.encode(claims, "secret", algorithm="HS256", headers={"typ": "at+jwt", "kid": "x"}),
        jose_jwt.encode(claims, key, algorithm="ES256", headers={"typ": "at+jwt", "kid": "../../etc/passwd"}),
        app.token["id_token"],
    ]
    for token in forged:
        answer = await server.http.get("/fhir/Observation/lab0", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
@pytest.mark.smart(310, 335, 336, 337, 340)
async def test_a_signed_assertion_authenticates_once(server: World, alg: str) -> None:
    pair = ECKey.generate_key("P-384", private=True) if alg == "ES384" else RSAKey.generate_key(2048, private=True)
    public = {**pair.as_dict(private=False), "kid": "k1", "use": "sig", "alg": alg}
    client_id, _ = await _client(
        server, kind="backend", redirect_uris=(), scope="system/Patient.rs", jwks={"keys": [public]}
    )
    now = int(time.time())
    good = {"iss": client_id, "sub": client_id, "aud": f"{ISSUER}/token", "exp": now + 200, "jti": "once"}

    async def ask(claims: dict[str, Any], kid: str = "k1") -> httpx.Response:
        assertion = jose_jwt.encode(claims, pair.as_pem(private=True), algorithm=alg, headers={"kid": kid})
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
            "scope": "system/Patient.rs",
        }
        return await server.http.post("/token", data=form)

    assert (await ask(good)).status_code == 200
    wrong = [
        (good, "k1"),
        ({**good, "jti": "2", "aud": "https://elsewhere.example/token"}, "k1"),
        ({**good, "jti": "3", "iss": "other"}, "k1"),
        ({**good, "jti": "4", "sub": "other"}, "k1"),
        ({**good, "jti": "5", "exp": now + 3600}, "k1"),
        ({**good, "jti": "6", "exp": now - 3600}, "k1"),
        ({**good, "jti": "7"}, "k2"),
        ({k: v for k, v in good.items() if k != "jti"}, "k1"),
    ]
    for claims, kid in wrong:
        answer = await ask(claims, kid)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), claims


async def test_a_disabled_clients_tokens_die(server: World) -> None:
    app = await server.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, app.client_id, server.assent.authz.clock())
    await asyncio.sleep(0.5)  # told over the bus, within a second
    assert (await app.get("Observation/lab0")).status_code == 401


async def test_revoking_another_clients_token_changes_nothing(server: World) -> None:
    app, other = await server.app(["laboratory"]), await server.app(["laboratory"])
    form = {"token": app.token["access_token"], "client_id": other.client_id}
    assert (await server.http.post("/revoke", data=form)).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await server.http.post("/revoke", data={**form, "client_id": app.client_id})).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 401


async def test_keys_rotate_without_a_failed_request(server: World) -> None:
    app = await server.app(["laboratory"])
    before = {key["kid"] for key in (await server.http.get("/jwks")).json()["keys"]}
    await server.assent.authz.keys.rotate()
    after = {key["kid"] for key in (await server.http.get("/jwks")).json()["keys"]}
    assert before < after
    assert (await app.get("Observation/lab0")).status_code == 200
    later = await server.app(["laboratory"])
    assert jose_jwt.get_unverified_header(later.token["access_token"])["kid"] in before


async def test_keys_rotated_by_another_process_are_published(server: World) -> None:
    context = server.assent.authz
    secret = (server.folder / "secret").read_bytes().strip()
    elsewhere = SigningKeys(context.engine, secret, context.clock)
    await elsewhere.start()
    fresh = set(await elsewhere.rotate())

    async def published() -> bool:
        return fresh <= {key["kid"] for key in (await server.http.get("/jwks")).json()["keys"]}

    assert await soon(published)


async def test_registration_is_closed_unless_it_is_opened(server: World) -> None:
    answer = await server.http.post("/register", json={"redirect_uris": [REDIRECT]})
    assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")


@pytest.mark.smart(16)
async def test_discovery_is_open_to_any_origin_and_the_rest_to_registered_ones(server: World) -> None:
    await _client(server)
    origin = {"Origin": "https://anywhere.example"}
    for path in ("/fhir/.well-known/smart-configuration", "/fhir/metadata", "/jwks"):
        answer = await server.http.get(path, headers=origin)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
    ask = {"Access-Control-Request-Method": "POST"}
    refused = await server.http.options("/token", headers={**origin, **ask})
    assert "access-control-allow-origin" not in refused.headers
    allowed = await server.http.options("/token", headers={"Origin": "http://localhost:9090", **ask})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "http://localhost:9090")


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"a":1}', "application/json", 400),
        (b"", "application/x-www-form-urlencoded", 401),
        (b"client_id=a&client_id=b", "application/x-www-form-urlencoded", 400),
        (b"x=" + b"y" * 40_000, "application/x-www-form-urlencoded", 413),
        (b"client_id=%00", "application/x-www-form-urlencoded", 400),
        (b"client_id=\xff", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_malformed_bodies_get_a_specific_error(
    server: World, path: str, body: bytes, kind: str, status: int
) -> None:
    answer = await server.http.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "error_description"}
