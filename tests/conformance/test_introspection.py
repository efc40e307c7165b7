"""SMART 2.2, "Token introspection", and RFC 7662."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jose import jwt

from smart.scope_syntax import split_scope
from tests.conformance.launching import FHIR_BASE, launch, register
from tests.leaks.world import World

SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs"


async def _gateway(server: World) -> tuple[str, str]:
    client_id, secret = await register(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    assert secret is not None
    return client_id, secret


async def _ask(server: World, token: str) -> dict[str, Any]:
    answer = await server.http.post("/introspect", data={"token": token}, auth=await _gateway(server))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.smart(99, 269, 271, 272, 273, 274, 275, 276, 277)
async def test_an_active_token_is_described_as_it_was_given(server: World) -> None:
    app = await (await launch(server, SCOPE)).app(["laboratory", "conditions"])
    found = await _ask(server, app.token["access_token"])
    assert found["active"] is True
    assert found["scope"] == app.token["scope"]
    assert found["client_id"] == app.client_id
    assert type(found["exp"]) is int
    assert found["exp"] - found["iat"] == app.token["expires_in"]
    assert (found["patient"], found["need_patient_banner"]) == ("ana", app.token["need_patient_banner"])


@pytest.mark.smart(273)
async def test_a_scope_given_in_v1_is_described_in_v1(server: World) -> None:
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    app = await (await launch(server, "launch/patient patient/*.read")).app(everything)
    assert (await _ask(server, app.token["access_token"]))["scope"] == "launch/patient patient/*.read"


async def test_types_of_which_a_purpose_shows_nothing_stand_in_no_scope(server: World) -> None:
    """Else a gateway that goes by the scopes would tell researchers who else reads, and what is kept from them."""
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    app = await (await launch(server, "launch/patient patient/*.rs", purposes=("HRESCH",))).app(everything)
    told = (await _ask(server, app.token["access_token"]))["scope"]
    assert told == app.token["scope"]
    types = {scope.resource_type for scope in split_scope(told)[1]}
    assert {"ImagingStudy", "Observation", "Provenance"} <= types
    assert types.isdisjoint({"*", "Consent", "AuditEvent"})
    assert (await app.get("AuditEvent")).status_code == 403


@pytest.mark.smart(278, 279, 280)
async def test_an_active_token_says_who_signed_in_as_the_id_token_does(server: World) -> None:
    app = await (await launch(server, SCOPE)).app(["laboratory"])
    identity = jwt.get_unverified_claims(app.token["id_token"])
    found = await _ask(server, app.token["access_token"])
    assert {name: found[name] for name in ("iss", "sub", "fhirUser")} == {
        "iss": identity["iss"],
        "sub": identity["sub"],
        "fhirUser": f"{FHIR_BASE}/Patient/ana",
    }
    assert identity["fhirUser"] == found["fhirUser"]


@pytest.mark.smart(271, 272)
async def test_whatever_is_no_active_token_is_inactive_and_nothing_else(server: World) -> None:
    app = await (await launch(server, SCOPE)).app(["laboratory"])
    for token in ("x", "a.b.c", app.token["id_token"], app.token["refresh_token"], app.token["access_token"] + "x"):
        assert await _ask(server, token) == {"active": False}
    revoked = await server.http.post("/revoke", data={"token": app.token["access_token"], "client_id": app.client_id})
    assert revoked.status_code == 200
    assert await _ask(server, app.token["access_token"]) == {"active": False}


async def _as_bearer(server: World, scope: str, kind: str, token: str) -> httpx.Response:
    client_id, secret = await register(server, kind=kind, redirect_uris=(), scope=scope)
    form = {"grant_type": "client_credentials", "scope": scope}
    mine = (await server.http.post("/token", data=form, auth=(client_id, secret or ""))).json()["access_token"]
    return await server.http.post("/introspect", data={"token": token}, headers={"Authorization": f"Bearer {mine}"})


@pytest.mark.smart(282, 283)
async def test_a_bearer_token_with_the_scope_may_ask_about_every_clients_tokens(server: World) -> None:
    for _ in range(2):
        app = await (await launch(server, SCOPE)).app(["laboratory"])
        answer = await _as_bearer(server, "assent/introspect", "gateway", app.token["access_token"])
        assert (answer.status_code, answer.json()["client_id"]) == (200, app.client_id)


@pytest.mark.smart(281)
async def test_who_was_not_given_the_right_may_not_ask(server: World) -> None:
    asked = await launch(server, SCOPE, kind="confidential-symmetric")
    app = await asked.app(["laboratory"])
    token = {"token": app.token["access_token"]}
    unnamed = await server.http.post("/introspect", data=token)
    assert (unnamed.status_code, unnamed.json()["error"]) == (401, "invalid_client")
    named = await server.http.post("/introspect", data=token, auth=(asked.client_id, asked.secret or ""))
    assert (named.status_code, named.json()["error"]) == (403, "unauthorized_client")
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    borne = await server.http.post("/introspect", data=token, headers=bearer)
    assert (borne.status_code, borne.json()["error"]) == (403, "insufficient_scope")
