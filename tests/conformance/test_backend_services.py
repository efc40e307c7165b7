"""SMART 2.2, "Backend services": a service asks for a token with its key, and nobody is there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from jose import jwt

from authz.tokens.access_tokens import AccessTokens, TokenClaims
from tests.conformance.launching import ASSERTION_TYPE, FHIR_BASE, Launch, assertion, key_pair, register
from tests.leaks.service import service
from tests.leaks.world import CATEGORY, ISSUER, App, World

PUBLIC, PRIVATE = key_pair("ES384")
REGISTERED = "system/Patient.rs system/Observation.rs"


async def _service(server: World) -> Launch:
    client_id, _ = await register(server, kind="backend", redirect_uris=(), scope=REGISTERED, jwks={"keys": [PUBLIC]})
    return Launch(server, client_id, None)


async def _ask(own: Launch, jti: str = "1", **form: str) -> Any:
    signed = assertion(own.client_id, PRIVATE, "ES384", jti=jti)
    authenticated = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    return await own.world.http.post("/token", data={"grant_type": "client_credentials", **authenticated, **form})


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
        ("system/Patient.r system/Observation.read", "system/Patient.r system/Observation.read"),
        ("system/Observation.s?category=a|b system/Patient.rs?x", "system/Observation.s?category=a|b"),
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
    "asked",
    [
        *("system/Condition.rs", "system/*.rs", "system/Patient.cruds", "user/Patient.rs", "x"),
        *("patient/Patient.rs", "system/Patient.write", "system/patient.rs", "openid"),
    ],
)
async def test_a_service_gets_nothing_that_was_not_registered(server: World, asked: str) -> None:
    answer = await _ask(await _service(server), scope=asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert answer.json()["error_description"]


@pytest.mark.parametrize("scope", ["system/Observation.rs", "patient/Observation.rs", "user/*.rs"])
@pytest.mark.parametrize("kind", ["gateway", "ehr"])
async def test_clinical_scopes_are_for_backend_services_only(server: World, kind: str, scope: str) -> None:
    client_id, secret = await register(server, kind=kind, redirect_uris=(), scope=f"{scope} assent/introspect")
    client = Launch(server, client_id, secret)
    answer = await client.token(grant_type="client_credentials", scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    answer = await client.token(grant_type="client_credentials")
    assert answer.json()["scope"] == "assent/introspect"


@pytest.mark.parametrize("scope", ["patient/Observation.rs", "user/*.rs", "launch openid", "assent/introspect"])
async def test_a_services_token_without_system_scopes_opens_nothing(server: World, scope: str) -> None:
    client_id, _ = await register(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    claims = TokenClaims(client_id, client_id, scope, timedelta(minutes=5))
    app = App(server, client_id, {"access_token": server.assent.authz.tokens.mint(claims)[0]})
    for path in ("Observation/lab0", "Observation", "Practitioner/doc"):
        assert (await app.get(path)).status_code == 403


async def test_the_purpose_of_a_services_token_is_the_registered_one(server: World) -> None:
    app = await service(server, {"ana": ["laboratory"]}, purpose="HRESCH")
    assert jwt.get_unverified_claims(str(app.token["access_token"]))["purpose_of_use"] == "HRESCH"
    shown = (await app.get("Observation/lab0")).json()
    assert "performer" not in shown  # what the mask for research leaves out


@pytest.mark.smart(142, 266)
async def test_system_scopes_open_what_patients_allow_the_service_itself(server: World) -> None:
    app = await service(server, {"ana": ["demographics", "laboratory"], "bob": ["laboratory"]})
    found = (await app.get("Observation")).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["lab0", "bob0"]
    assert "total" not in found
    for path, status in (("Patient/ana", 200), ("Patient/bob", 404), ("Observation/bob0", 200), ("Condition/flu", 404)):
        assert (await app.get(path)).status_code == status, path
    await app.revoked_by("bob")
    assert (await app.get("Observation/bob0")).status_code == 404


@pytest.mark.smart(266)
@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("system/Observation.rs", (200, 403, 200, 403)),
        ("system/Observation.r system/Patient.s", (200, 403, 403, 200)),
        (f"system/Observation.rs?category={CATEGORY}|vital-signs", (404, 403, 200, 403)),
        ("system/*.rs", (200, 200, 200, 200)),
    ],
)
async def test_a_service_gets_only_what_its_scope_covers(server: World, scope: str, statuses: tuple[int, ...]) -> None:
    app = await service(server, {"ana": ["demographics", "laboratory"]}, scope=scope)
    answers = [
        (await app.get(path)).status_code for path in ("Observation/lab0", "Patient/ana", "Observation", "Patient")
    ]
    assert tuple(answers) == statuses


async def _introspected(server: World, app: App) -> dict[str, Any]:
    gateway, secret = await register(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    asked = {"token": app.token["access_token"]}
    answer = await server.http.post("/introspect", data=asked, auth=(gateway, secret or ""))
    found: dict[str, Any] = answer.json()
    return found


async def test_introspection_of_a_services_token_tells_its_scope_and_no_patients(server: World) -> None:
    app = await service(server, {"ana": ["laboratory"]}, scope="system/Observation.rs")
    said = await _introspected(server, app)
    assert (said["active"], said["scope"], said["sub"]) == (True, "system/Observation.rs", app.client_id)
    assert {"consent", "patient"}.isdisjoint(said)


async def test_a_gateway_is_told_to_let_nothing_through_by_a_services_scopes_alone(server: World) -> None:
    """Whose data they open hangs on the consents of each patient: of bob nothing, though the scope names it."""
    app = await service(server, {"ana": ["laboratory"]}, scope="system/Observation.rs")
    said = await _introspected(server, app)
    assert said["extensions"]["ihe_pcf"] == {"residual": [{"type": "forbid"}]}
    assert said["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] == "TREAT"
    assert (await app.get("Observation/bob0")).status_code == 404


@pytest.mark.smart(265)
async def test_a_services_expired_token_is_no_token(server: World) -> None:
    own, context = await _service(server), server.assent.authz
    for age, status in ((timedelta(), 200), (timedelta(hours=1), 401)):
        clock = lambda age=age: context.clock() - age  # noqa: E731
        mint = AccessTokens(context.keys, issuer=ISSUER, audience=FHIR_BASE, clock=clock).mint
        token, _ = mint(TokenClaims(own.client_id, own.client_id, REGISTERED, timedelta(minutes=5)))
        answer = await App(server, own.client_id, {"access_token": token}).get("Observation")
        assert answer.status_code == status


@pytest.mark.smart(243, 244)
@pytest.mark.parametrize("path", ["Condition", "Condition/flu", "Library", "Nonsense"])
async def test_what_a_services_token_does_not_cover_fails_at_once(server: World, path: str) -> None:
    own = await _service(server)
    token = (await _ask(own, scope="system/Patient.rs")).json()
    answer = await App(server, own.client_id, token).get(path)
    assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")
