"""SMART 2.2, "Scopes for requesting identity data", and OpenID Connect Core."""

from __future__ import annotations

from typing import Any

import pytest
from jose import jwt

from authz.sign_in.accounts import Account, ActsFor, add_account
from tests.conformance.launching import FHIR_BASE, Launch, launch
from tests.leaks.world import ISSUER, World

SCOPE = "openid fhirUser launch/patient patient/Observation.rs"


async def _account(server: World, name: str, fhir_user: str | None) -> Account:
    new = Account("", name, name.title(), fhir_user, "representative", (ActsFor("ana", "Ana", own=False),))
    async with server.assent.engine.begin() as connection:
        return await add_account(connection, new, "-", server.assent.authz.clock())


async def _identity(server: World, asked: Launch) -> dict[str, Any]:
    """Claims of the id token, verified by a second implementation with the published key."""
    app = await asked.app(["laboratory"])
    token = app.token["id_token"]
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "RS256"
    keys = (await server.http.get("/jwks")).json()["keys"]
    (key,) = (key for key in keys if key["kid"] == header["kid"])
    return dict(jwt.decode(token, key, algorithms=["RS256"], audience=app.client_id, issuer=ISSUER))


@pytest.mark.smart(80, 200, 203, 205, 209, 210, 358)
async def test_identity_scopes_bring_a_signed_id_token_with_an_absolute_fhir_user(server: World) -> None:
    claims = await _identity(server, await launch(server, SCOPE))
    assert claims["fhirUser"] == f"{FHIR_BASE}/Patient/ana"
    assert claims["sub"] == server.account.id
    assert claims["exp"] > claims["iat"]


@pytest.mark.smart(206)
async def test_a_nonce_comes_back_and_other_optional_parameters_change_nothing(server: World) -> None:
    asked = await launch(server, SCOPE)
    returned = await asked.allow(
        await asked.authorize(nonce="n-1", acr_values="x", ui_locales="de", display="page"),
        ["laboratory"],
    )
    token = (await asked.exchange(returned)).json()
    assert jwt.get_unverified_claims(token["id_token"])["nonce"] == "n-1"


@pytest.mark.smart(80, 149)
async def test_without_openid_there_is_no_id_token(server: World) -> None:
    app = await (await launch(server, "fhirUser launch/patient patient/Observation.rs")).app(["laboratory"])
    assert "id_token" not in app.token


@pytest.mark.smart(197)
async def test_a_person_without_a_fhir_resource_gets_no_fhir_user_and_the_scope_says_so(server: World) -> None:
    asked = await launch(server, SCOPE)
    asked.account = await _account(server, "resourceless", None)
    app = await asked.app(["laboratory"])
    assert "fhirUser" not in jwt.get_unverified_claims(app.token["id_token"])
    assert "fhirUser" not in app.token["scope"].split(" ")
    assert "openid" in app.token["scope"].split(" ")


@pytest.mark.smart(198, 209)
@pytest.mark.parametrize("kind", ["Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"])
async def test_a_fhir_user_of_every_type_is_told_to_the_app(server: World, kind: str) -> None:
    asked = await launch(server, SCOPE)
    asked.account = await _account(server, f"user-{kind}", f"{kind}/u1")
    assert (await _identity(server, asked))["fhirUser"] == f"{FHIR_BASE}/{kind}/u1"


@pytest.mark.smart(198)
@pytest.mark.parametrize(
    "fhir_user",
    ["Organization/o1", "Patient", "Patient/", "x", "", "Patient/a/b", "https://elsewhere.example/Patient/1"],
)
async def test_a_fhir_user_of_another_type_is_refused(server: World, fhir_user: str) -> None:
    with pytest.raises(ValueError, match="Patient"):
        await _account(server, f"odd {fhir_user}", fhir_user)


@pytest.mark.smart(207, 208)
async def test_public_keys_are_published_as_bare_jwks(server: World) -> None:
    answer = await server.http.get("/jwks")
    assert answer.status_code == 200
    kinds = {(key["kty"], key["alg"], key["use"]) for key in answer.json()["keys"]}
    assert {("RSA", "RS256", "sig"), ("EC", "ES256", "sig")} <= kinds
    for key in answer.json()["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "x5c", "x5t"} & set(key)


@pytest.mark.smart(212, 213)
@pytest.mark.parametrize(
    ("parameter", "error"), [("request", "invalid_request_object"), ("request_uri", "request_uri_not_supported")]
)
async def test_unsigned_and_remote_request_objects_are_refused_by_name_and_claims_have_no_effect(
    server: World, parameter: str, error: str
) -> None:
    asked = await launch(server, SCOPE)
    answer = await asked.authorize(**{parameter: "https://app.example/request"})
    assert f"error={error}&" in answer.headers["location"]
    returned = await asked.allow(await asked.authorize(claims='{"id_token":{"email":null}}'), ["laboratory"])
    token = (await asked.exchange(returned)).json()
    assert "email" not in jwt.get_unverified_claims(token["id_token"])


@pytest.mark.smart(214)
async def test_userinfo_says_who_signed_in_to_a_token_with_openid_only(server: World) -> None:
    endpoint = (await server.http.get("/.well-known/openid-configuration")).json()["userinfo_endpoint"]
    app = await (await launch(server, SCOPE)).app(["laboratory"])
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    answer = await server.http.get(endpoint, headers=bearer)
    assert answer.status_code == 200
    assert answer.json() == {"sub": server.account.id, "fhirUser": f"{FHIR_BASE}/Patient/ana"}
    other = await (await launch(server)).app(["laboratory"])
    plain = {"Authorization": f"Bearer {other.token['access_token']}"}
    assert (await server.http.get(endpoint, headers=plain)).status_code == 403
