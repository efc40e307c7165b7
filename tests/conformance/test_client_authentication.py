"""SMART 2.2, "Client authentication": nothing, a secret, or keys."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from jose import jwt

from tests.authz.raw_jwt import raw_jwt, twice
from tests.clients.app import register as register_oneself
from tests.conformance.launching import ASSERTION_TYPE, Launch, assertion, key_pair, launch, register
from tests.leaks.world import ISSUER, World
from tests.sandbox_server import Sandbox

KEYS = {algorithm: key_pair(algorithm) for algorithm in ("RS384", "ES384", "RS256", "ES256")}
SYSTEM: dict[str, Any] = {"kind": "backend", "redirect_uris": (), "scope": "system/Patient.rs"}


async def _service(server: World, *keys: dict[str, Any]) -> str:
    client_id, _ = await register(server, **SYSTEM, jwks={"keys": list(keys)})
    return client_id


async def _sent(server: World, signed: str, **more: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/Patient.rs",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
        **more,
    }
    return await server.http.post("/token", data=form)


async def _refused(server: World, signed: str, **more: str) -> None:
    answer = await _sent(server, signed, **more)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def _through(asked: Launch) -> None:
    app = await asked.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200


@pytest.mark.smart(355)
async def test_a_public_client_needs_no_secret(server: World) -> None:
    await _through(await launch(server, kind="public"))


@pytest.mark.smart(356)
async def test_a_confidential_client_authenticates_with_its_secret_and_with_no_other(server: World) -> None:
    asked = await launch(server, kind="confidential-symmetric")
    returned = await asked.allow(await asked.authorize(), ["laboratory"])
    right, asked.secret = asked.secret, "guess"
    wrong = await asked.exchange(returned)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    asked.secret = None
    nameless = await asked.exchange(returned)
    assert (nameless.status_code, nameless.json()["error"]) == (401, "invalid_client")
    asked.secret = right
    assert (await asked.exchange(returned)).status_code == 200


@pytest.mark.smart(357, 297)
async def test_half_an_assertion_is_not_overlooked(server: World) -> None:
    asked = await launch(server, kind="confidential-symmetric")
    typed, named = {"client_assertion_type": ASSERTION_TYPE}, {"client_id": asked.client_id}
    beside = await asked.token(grant_type="refresh_token", refresh_token="x", **typed)  # noqa: S106 - none
    assert (beside.status_code, beside.json()["error"]) == (400, "invalid_request")
    public, _ = await register(server)
    for form in (typed, typed | named, typed | {"client_id": public}):
        alone = await server.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": "x", **form})
        assert (alone.status_code, alone.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
async def test_an_app_authenticates_with_a_key_that_it_registered(server: World, algorithm: str) -> None:
    public, private = KEYS[algorithm]
    asked = await launch(server, kind="confidential-asymmetric", jwks={"keys": [public]})
    signed = assertion(asked.client_id, private, algorithm, jti=f"app-{algorithm}")
    asked.authentication = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    await _through(asked)


@pytest.mark.smart(310, 311, 326, 297, 249)
@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_an_assertion_is_verified_with_the_registered_key(server: World, algorithm: str) -> None:
    public, private = KEYS[algorithm]
    client_id = await _service(server, public)
    assert (await _sent(server, assertion(client_id, private, algorithm, jti="1"))).status_code == 200
    _, other = key_pair(algorithm)
    await _refused(server, assertion(client_id, other, algorithm, jti="2"))


@pytest.mark.smart(335, 340, 249)
@pytest.mark.parametrize(
    "change",
    [
        {"iss": "somebody"},
        {"sub": "somebody"},
        {"aud": "https://elsewhere.example/token"},
        {"aud": None},
        {"exp": int(time.time()) - 600},
        {"exp": int(time.time()) + 3600},
        {"exp": None},
        {"jti": None},
        {"jti": ""},
    ],
)
async def test_an_assertion_whose_claims_are_wrong_is_refused(server: World, change: dict[str, Any]) -> None:
    public, private = KEYS["ES384"]
    client_id = await _service(server, public)
    right = {"iss": client_id, "sub": client_id, "aud": f"{ISSUER}/token", "exp": int(time.time()) + 200, "jti": "1"}
    claims = {name: value for name, value in {**right, **change}.items() if value is not None}
    await _refused(server, jwt.encode(claims, private.decode(), algorithm="ES384", headers={"kid": "k1"}))
    assert (await _sent(server, assertion(client_id, private, "ES384", jti="1"))).status_code == 200


@pytest.mark.parametrize(
    ("part", "name", "other"),
    [
        ("claims", "sub", "somebody"),
        ("claims", "aud", "https://elsewhere.example/token"),
        ("claims", "jti", "2"),
        ("claims", "jti", "1"),
        ("header", "kid", "k2"),
        ("header", "alg", "RS384"),
    ],
)
async def test_an_assertion_in_which_something_stands_twice_is_refused(
    server: World, part: str, name: str, other: str
) -> None:
    public, private = KEYS["ES384"]
    client_id = await _service(server, public)
    header = {"kid": "k1", "alg": "ES384", "typ": "JWT"}
    claims = {"iss": client_id, "sub": client_id, "aud": f"{ISSUER}/token", "exp": int(time.time()) + 200, "jti": "1"}
    plain = {"header": json.dumps(header).encode(), "claims": json.dumps(claims).encode()}
    for last in (False, True):
        parts = {**plain, part: twice(header if part == "header" else claims, name, other, last=last)}
        await _refused(server, raw_jwt(parts["header"], parts["claims"], private))
    assert (await _sent(server, raw_jwt(plain["header"], plain["claims"], private))).status_code == 200


@pytest.mark.smart(336)
async def test_an_assertion_works_once(server: World) -> None:
    public, private = KEYS["ES384"]
    client_id, other = await _service(server, public), await _service(server, public)
    signed = assertion(client_id, private, "ES384", jti="once")
    assert (await _sent(server, signed)).status_code == 200
    await _refused(server, signed)
    await _refused(server, assertion(client_id, private, "ES384", jti="once"))
    assert (await _sent(server, assertion(other, private, "ES384", jti="once"))).status_code == 200


@pytest.mark.smart(337)
async def test_the_client_must_be_known_and_be_the_one_that_the_assertion_names(server: World) -> None:
    public, private = KEYS["ES384"]
    client_id, other = await _service(server, public), await _service(server, public)
    await _refused(server, assertion("nobody", private, "ES384", jti="1"))
    await _refused(server, assertion(client_id, private, "ES384", jti="2"), client_id=other)
    answer = await _sent(server, assertion(client_id, private, "ES384", jti="3"), client_id=client_id)
    assert answer.status_code == 200


@pytest.mark.smart(338)
@pytest.mark.parametrize(
    "headers",
    [
        {"jku": "https://attacker.example/jwks.json"},
        {"jku": ""},
        {"kid": "k2"},
        {"kid": None},
    ],
)
async def test_an_assertion_that_names_a_key_elsewhere_or_none_is_refused(
    server: World, headers: dict[str, Any]
) -> None:
    public, private = KEYS["ES384"]
    client_id = await _service(server, public)
    await _refused(server, assertion(client_id, private, "ES384", jti="1", headers=headers))


@pytest.mark.smart(338)
async def test_of_two_keys_with_one_name_the_fitting_type_is_taken_and_two_that_fit_are_refused(server: World) -> None:
    (ec, private), (rsa, _), (second, _) = KEYS["ES384"], KEYS["RS384"], key_pair("ES384")
    for keys in ((ec, rsa), (rsa, ec)):
        client_id = await _service(server, *keys)
        assert (await _sent(server, assertion(client_id, private, "ES384", jti="1"))).status_code == 200
    for keys in ((ec, second), (second, ec)):
        client_id = await _service(server, *keys)
        await _refused(server, assertion(client_id, private, "ES384", jti="1"))


@pytest.mark.smart(305)
def test_registered_keys_can_not_be_changed_over_the_network(sandbox: Sandbox) -> None:
    public, _ = KEYS["ES384"]
    more: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public]}}
    first = register_oneself(sandbox.issuer, "Keys", "launch/patient", **more)
    assert first["jwks"] == {"keys": [public]}
    again = register_oneself(sandbox.issuer, "Keys", "launch/patient", client_id=first["client_id"], **more)
    assert again["client_id"] != first["client_id"]
    others = {"Authorization": f"Bearer {again['registration_access_token']}"}
    for method in ("PUT", "PATCH", "DELETE"):
        for path, headers in (("/register", {}), (f"/register/{first['client_id']}", {}), ("", others)):
            url = f"{sandbox.issuer}{path}" if path else first["registration_client_uri"]
            changed = httpx.request(method, url, headers=headers, json=more, timeout=30)
            assert changed.status_code == (405 if path == "/register" or method == "PATCH" else 401)
    own = {"Authorization": f"Bearer {first['registration_access_token']}"}
    assert httpx.get(first["registration_client_uri"], headers=own, timeout=30).json()["jwks"] == {"keys": [public]}


@pytest.mark.smart(306)
def test_who_registers_keys_is_reminded_to_send_new_ones(sandbox: Sandbox) -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    sent = register_oneself(sandbox.issuer, "Keys", "openid", **method, jwks={"keys": [KEYS["ES384"][0]]})
    assert "whenever your keys change" in sent["jwks_reminder"]
    kept = register_oneself(sandbox.issuer, "Keys", "openid", **method, jwks_uri="https://app.example/jwks")
    assert "jwks_reminder" not in kept


@pytest.mark.smart(344)
def test_a_service_does_not_get_a_secret(sandbox: Sandbox) -> None:
    metadata = {"client_name": "Service", "grant_types": ["client_credentials"], "scope": "system/Patient.rs"}
    for method in ("client_secret_basic", "client_secret_post", "none"):
        asked = {**metadata, "token_endpoint_auth_method": method}
        answer = httpx.post(f"{sandbox.issuer}/register", json=asked, timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
