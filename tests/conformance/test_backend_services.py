"""SMART 2.2, "Backend services": a service asks for a token with its key, and nobody is there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from jose import jwt

from authz.access_tokens import AccessTokens, TokenClaims
from tests.conformance.launching import ASSERTION_TYPE, FHIR_BASE, Launch, assertion, key_pair, register
from tests.leaks.world import ISSUER, App, World

PUBLIC, PRIVATE = key_pair("ES384")
REGISTERED = "system/Patient.rs system/Observation.rs"


async def _service(server: World) -> Launch:
    client_id, _ = await register(server, kind="backend", redirect_uris=(), scope=REGISTERED, jwks={"keys": [PUBLIC]})
    return Launch(server, client_id, None)


async def _ask(service: Launch, jti: str = "1", **form: str) -> Any:
    signed = assertion(service.client_id, PRIVATE, "ES384", jti=jti)
    authenticated = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    return await service.world.http.post("/token", data={"grant_type": "client_credentials", **authenticated, **form})


@pytest.mark.smart(253, 254, 255, 256, 257, 258, 261, 262, 248)
async def test_a_service_gets_a_bearer_token_for_five_minutes_and_no_refresh_token(server: World) -> None:
    answer = await _ask(await _service(server), scope="system/Patient.rs")
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    token = answer.json()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 300)
    claims = jwt.get_unverified_claims(token["access_token"])
    assert claims["exp"] - claims["iat"] == 300
    assert claims["scope"] == token["scope"] == "system/Patient.rs"
    assert "refresh_token" not in token


@pytest.mark.smart(240, 241, 250, 259, 260)
@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/Patient.rs", "system/Patient.rs"),
        ("system/Patient.rs system/Condition.rs", "system/Patient.rs"),
        ("system/Patient.rs system/*.cruds", "system/Patient.rs"),
        (REGISTERED, REGISTERED),
    ],
)
async def test_a_service_gets_what_it_asks_for_within_what_was_registered(
    server: World, asked: str, granted: str
) -> None:
    answer = await _ask(await _service(server), scope=asked)
    assert (answer.status_code, answer.json()["scope"]) == (200, granted)


@pytest.mark.smart(250, 251, 252)
@pytest.mark.parametrize(
    "asked", ["system/Condition.rs", "system/*.rs", "system/Patient.cruds", "user/Patient.rs", "x"]
)
async def test_a_service_gets_nothing_that_was_not_registered(server: World, asked: str) -> None:
    answer = await _ask(await _service(server), scope=asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert answer.json()["error_description"]


@pytest.mark.smart(265)
async def test_a_services_expired_token_is_no_token(server: World) -> None:
    service, context = await _service(server), server.assent.authz
    for age, status in ((timedelta(), 403), (timedelta(hours=1), 401)):
        clock = lambda age=age: context.clock() - age  # noqa: E731
        mint = AccessTokens(context.keys, issuer=ISSUER, audience=FHIR_BASE, clock=clock).mint
        token, _ = mint(TokenClaims(service.client_id, service.client_id, REGISTERED, timedelta(minutes=5)))
        answer = await App(server, service.client_id, {"access_token": token}).get("Observation/lab0")
        assert answer.status_code == status


@pytest.mark.smart(243, 244)
@pytest.mark.parametrize("path", ["Condition", "Condition/flu", "Library", "Nonsense"])
async def test_what_a_services_token_does_not_cover_fails_at_once(server: World, path: str) -> None:
    service = await _service(server)
    token = (await _ask(service, scope="system/Patient.rs")).json()
    answer = await App(server, service.client_id, token).get(path)
    assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")
