"""SMART 2.2, "App launch": what the token endpoint answers, and how the FHIR API takes the tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from jose import jwt

from authz.tokens.access_tokens import AccessTokens, TokenClaims
from tests.conformance.launching import FHIR_BASE, Launch, launch
from tests.leaks.world import ISSUER, App, World

OFFLINE = "launch/patient offline_access patient/*.rs"


def _check_token(answer: httpx.Response) -> Mapping[str, Any]:
    """What every good answer of the token endpoint has."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    token: dict[str, Any] = answer.json()
    assert re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token["access_token"])  # RFC 6750 §2.1
    assert token["token_type"] == "Bearer"  # noqa: S105 - a type, no secret
    assert type(token["expires_in"]) is int
    assert 0 < token["expires_in"] <= 3600
    assert isinstance(token["scope"], str)
    return token


async def _refreshed(asked: Launch, token: Mapping[str, Any], **change: str) -> httpx.Response:
    return await asked.token(grant_type="refresh_token", refresh_token=token["refresh_token"], **change)


@pytest.mark.smart(73, 74, 75, 76, 78, 83, 84, 85, 86, 87, 88, 91)
async def test_a_code_is_answered_with_everything_about_the_token(server: World) -> None:
    asked = await launch(server)
    returned = await asked.allow(await asked.authorize(), ["laboratory", "vital-signs"])
    token = _check_token(await asked.exchange(returned))
    claims = jwt.get_unverified_claims(token["access_token"])
    assert claims["exp"] - claims["iat"] == token["expires_in"]
    assert claims["scope"] == token["scope"]
    assert token["patient"] == "ana"


@pytest.mark.smart(73, 86, 87, 251, 252)
async def test_a_denied_token_request_is_answered_in_json_too(server: World) -> None:
    answer = await (await launch(server)).token(grant_type="authorization_code", code="x", code_verifier="v" * 50)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.json()["error_description"]
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")


@pytest.mark.smart(78, 79, 145)
async def test_the_scope_says_what_was_granted_and_not_what_was_asked(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/*.rs patient/Nonsense.x")).app(["conditions"])
    granted = app.token["scope"].split(" ")
    assert "patient/Condition.rs" in granted
    assert not {"patient/*.rs", "patient/Nonsense.x", "patient/Immunization.rs"} & set(granted)
    assert (await app.get("Condition/flu")).status_code == 200
    assert (await app.get("Observation/lab0")).status_code in (403, 404)


@pytest.mark.smart(81, 89, 102)
@pytest.mark.parametrize("kind", ["public", "confidential-symmetric"])
@pytest.mark.parametrize(("scope", "given"), [("offline_access", True), ("online_access", True), ("openid", False)])
async def test_a_refresh_token_is_given_to_who_asked_for_access_online_or_offline(
    server: World, kind: str, scope: str, given: bool
) -> None:
    app = await (await launch(server, f"launch/patient patient/*.rs {scope}", kind=kind)).app(["laboratory"])
    assert ("refresh_token" in app.token) is given


@pytest.mark.smart(100, 101, 110, 111, 112, 113, 116, 118, 365, 366, 86, 87)
@pytest.mark.parametrize("scope", ["offline_access", "online_access"])
async def test_a_refresh_gives_a_new_token_that_works_and_the_context_again(server: World, scope: str) -> None:
    asked = await launch(server, f"launch/patient patient/*.rs {scope}")
    app = await asked.app(["laboratory"])
    fresh = _check_token(await _refreshed(asked, app.token))
    assert fresh["access_token"] != app.token["access_token"]
    assert fresh["refresh_token"] != app.token["refresh_token"]
    assert fresh["patient"] == "ana"
    assert (await App(server, asked.client_id, fresh).get("Observation/lab0")).status_code == 200


@pytest.mark.smart(109, 114, 104)
async def test_a_refresh_without_a_scope_gives_what_the_launch_gave(server: World) -> None:
    asked = await launch(server, OFFLINE)
    app = await asked.app(["laboratory", "conditions"])
    fresh = (await _refreshed(asked, app.token)).json()
    assert fresh["scope"] == app.token["scope"]
    assert fresh["patient"] == app.token["patient"]


@pytest.mark.smart(104, 115)
async def test_a_refresh_gives_no_more_than_was_granted_whatever_it_asks_for(server: World) -> None:
    asked = await launch(server, OFFLINE)
    app = await asked.app(["conditions"])
    wider = await _refreshed(asked, app.token, scope="patient/*.cruds")
    assert wider.status_code == 200
    granted = wider.json()["scope"].split(" ")
    assert "patient/Condition.rs" in granted
    assert all(part in app.token["scope"].split(" ") for part in granted)
    other = await _refreshed(asked, wider.json(), scope="patient/Immunization.rs")
    assert (other.status_code, other.json()["error"]) == (400, "invalid_scope")


@pytest.mark.smart(103)
async def test_a_refresh_token_is_good_for_its_own_client_only(server: World) -> None:
    asked, other = await launch(server, OFFLINE), await launch(server, OFFLINE)
    app = await asked.app(["laboratory"])
    answer = await _refreshed(other, app.token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await _refreshed(asked, app.token)).status_code == 200


def _minted(server: World, app: App, *, audience: str = FHIR_BASE, age: timedelta = timedelta()) -> App:
    """The app with another token of its grant: right in everything, but for whom or when it was issued."""
    context = server.assent.authz
    mint = AccessTokens(context.keys, issuer=ISSUER, audience=audience, clock=lambda: context.clock() - age).mint
    claims = jwt.get_unverified_claims(app.token["access_token"])
    token, _ = mint(
        TokenClaims(
            client_id=app.client_id,
            subject=claims["sub"],
            scope=claims["scope"],
            lifetime=context.lifetimes.access_token,
            grant_id=claims["grant"],
            patient=claims["patient"],
            fhir_user=claims["fhirUser"],
        )
    )
    return App(server, app.client_id, {"access_token": token})


@pytest.mark.smart(77, 94)
async def test_an_expired_token_opens_nothing(server: World) -> None:
    app = await (await launch(server)).app(["laboratory"])
    assert (await _minted(server, app).get("Observation/lab0")).status_code == 200
    expired = await _minted(server, app, age=timedelta(hours=1)).get("Observation/lab0")
    assert expired.status_code == 401
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


@pytest.mark.smart(96)
@pytest.mark.parametrize("audience", ["https://elsewhere.example/fhir", ISSUER, f"{FHIR_BASE}/"])
async def test_a_token_for_another_fhir_base_opens_nothing(server: World, audience: str) -> None:
    app = await (await launch(server)).app(["laboratory"])
    assert (await _minted(server, app, audience=audience).get("Observation/lab0")).status_code == 401


@pytest.mark.smart(95, 367)
async def test_a_token_opens_what_its_scope_covers_and_no_more(server: World) -> None:
    labs = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
    asked = await launch(server, f"launch/patient patient/Observation.rs?category={labs} patient/Condition.r")
    app = await asked.app(["laboratory", "vital-signs", "conditions"])
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await app.get("Observation/vital0")).status_code == 404  # consented to, but not within the scope
    assert (await app.get("Condition/flu")).status_code == 200
    assert (await app.get("Condition")).status_code == 403  # `r` reads and doesn't search
    assert (await app.get("Patient/ana")).status_code == 403


@pytest.mark.smart(247, 94)
async def test_everything_but_discovery_needs_a_token(server: World) -> None:
    for path in ("Patient/ana", "Patient", "Observation/lab0/_history/1", "Consent", "AuditEvent", "Practitioner/doc"):
        answer = await server.http.get(f"/fhir/{path}")
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("metadata", ".well-known/smart-configuration"):
        assert (await server.http.get(f"/fhir/{path}")).status_code == 200


@pytest.mark.smart(134)
async def test_a_token_for_many_categories_fits_into_a_header(server: World) -> None:
    everyday = [c.code for c in server.assent.authz.catalogue.everyday]
    for categories in (everyday, everyday[:-1]):  # one missing: the scope names the others one by one
        app = await (await launch(server, OFFLINE)).app(categories)
        assert len(app.token["access_token"]) < 6_144  # common servers take heads of 8 KB
        assert (await app.get("Observation/lab0")).status_code == 200
