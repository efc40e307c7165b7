"""SMART 2.2, "App launch": from the authorization request to the redirect that answers it."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from authz import tables
from authz.opaque_secret import hash_of
from tests.clients.app import REDIRECT_URI, register
from tests.clients.app import App as StandaloneApp
from tests.clients.person import Person
from tests.conformance.launching import CHALLENGE, FHIR_BASE, VERIFIER, launch
from tests.leaks.world import ISSUER, REDIRECT, World
from tests.sandbox_server import Sandbox


def _answer(url: str) -> dict[str, list[str]]:
    assert url.startswith(REDIRECT + "?")
    return parse_qs(urlsplit(url).query, strict_parsing=True)


@pytest.mark.smart(48, 49, 354)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_by_get_and_by_post_leads_to_the_same_decision_and_code(server: World, method: str) -> None:
    asked = await launch(server)
    answer = await asked.authorize(method)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{ISSUER}/authorize/continue?request=")
    token = await asked.exchange(await asked.allow(answer, ["laboratory"]))
    assert (token.status_code, token.json()["patient"]) == (200, "ana")


@pytest.mark.smart(14, 31)
async def test_a_code_gives_a_token_to_whoever_knows_the_s256_verifier_only(server: World) -> None:
    asked = await launch(server)
    returned = await asked.allow(await asked.authorize(), ["laboratory"])
    for wrong in ("w" * 50, CHALLENGE, VERIFIER + "v", ""):
        answer = await asked.exchange(returned, code_verifier=wrong)
        error = "invalid_grant" if wrong else "invalid_request"
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert (await asked.exchange(returned)).status_code == 200


@pytest.mark.smart(15)
@pytest.mark.parametrize("challenge", [CHALLENGE, VERIFIER])
async def test_a_plain_challenge_is_refused(server: World, challenge: str) -> None:
    asked = await launch(server)
    answer = await asked.authorize(code_challenge_method="plain", code_challenge=challenge)
    assert answer.status_code == 303
    assert _answer(answer.headers["location"])["error"] == ["invalid_request"]


@pytest.mark.smart(53, 56, 57, 59)
async def test_who_is_granted_access_gets_a_code_and_its_own_state_at_its_own_address(server: World) -> None:
    asked = await launch(server)
    given = _answer(await asked.allow(await asked.authorize(), ["laboratory"]))
    assert given["state"] == ["st&te=ä"]
    assert given["iss"] == [ISSUER]
    assert "error" not in given
    assert (await asked.exchange(f"{REDIRECT}?code={given['code'][0]}")).status_code == 200


@pytest.mark.smart(54, 59)
async def test_who_is_refused_gets_an_error_and_its_own_state_and_no_code(server: World) -> None:
    asked = await launch(server)
    given = _answer(await asked.refuse(await asked.authorize()))
    assert (given["error"], given["state"]) == (["access_denied"], ["st&te=ä"])
    assert "code" not in given


@pytest.mark.smart(18)
@pytest.mark.parametrize(
    "uri", ["http://localhost:9090/callback2", "http://localhost:9090/", REDIRECT + "?x=1", "https://evil.example/cb"]
)
async def test_an_address_that_was_not_registered_whole_is_never_redirected_to(server: World, uri: str) -> None:
    answer = await (await launch(server)).authorize(redirect_uri=uri)
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.smart(58, 55)
async def test_a_code_expires_within_a_minute_and_then_gives_nothing(server: World) -> None:
    asked = await launch(server)
    returned = await asked.allow(await asked.authorize(), ["laboratory"])
    c, now = tables.authorization_code, server.assent.authz.clock()
    mine = c.c.code_hash == hash_of(_answer(returned)["code"][0])
    async with server.assent.engine.begin() as connection:
        expires = (await connection.execute(select(c.c.expires_at).where(mine))).scalar_one()
        assert now < expires <= now + timedelta(seconds=60)
        await connection.execute(update(c).where(mine).values(expires_at=now - timedelta(seconds=1)))
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.smart(24, 316)
def test_whoever_registers_an_app_learns_its_client_id_and_what_was_registered(sandbox: Sandbox) -> None:
    first = register(sandbox.issuer, "Registered App", "launch/patient")
    other = register(sandbox.issuer, "Registered App", "launch/patient")
    assert first["client_id"]
    assert first["client_id"] != other["client_id"]
    assert (first["client_name"], first["redirect_uris"]) == ("Registered App", [REDIRECT_URI])
    assert (first["scope"], first["token_endpoint_auth_method"]) == ("launch/patient", "none")


@pytest.mark.smart(27, 53, 353)
def test_a_standalone_app_gets_what_the_person_decides_on_the_pages(sandbox: Sandbox) -> None:
    scope = "launch/patient patient/Immunization.rs"
    client = register(sandbox.issuer, "Standalone App", scope)
    app = StandaloneApp(sandbox.fhir_base, client["client_id"], scope)
    user = sandbox.user()
    with Person(user["username"], user["password"]) as person:
        tokens = app.redeem(person.authorize(app.authorize_url()))
        assert tokens["patient"] == user["patients"][0]
        assert app.read(f"Immunization?patient={tokens['patient']}").status_code == 200
        refused = person.authorize(app.authorize_url(), deny=True)
    assert httpx.URL(refused).params["error"] == "access_denied"


@pytest.mark.smart(17)
async def test_a_script_from_a_registered_origin_may_use_the_token_endpoint_and_the_api(server: World) -> None:
    app = await (await launch(server, redirect_uris=(REDIRECT, "https://app.example/cb"))).app(["laboratory"])
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    for origin, seen in (("https://app.example", "https://app.example"), ("https://other.example", None)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        token = await server.http.post("/token", data={"grant_type": "x"}, headers={"Origin": origin})
        read = await server.http.get("/fhir/Observation/lab0", headers={**bearer, "Origin": origin})
        assert read.status_code == 200
        preflights = [await server.http.options(path, headers=asked) for path in ("/token", "/fhir/Observation/lab0")]
        for answer in (token, read, *preflights):
            assert answer.headers.get("access-control-allow-origin") == seen
        if seen is not None:
            for preflight in preflights:
                assert preflight.status_code == 204
                assert "authorization" in preflight.headers["access-control-allow-headers"]


@pytest.mark.smart(96)
@pytest.mark.parametrize("aud", ["https://elsewhere.example/fhir", f"{ISSUER}/fhir/x", ISSUER, f"{FHIR_BASE}?x=1"])
async def test_a_request_for_another_fhir_base_is_refused(server: World, aud: str) -> None:
    answer = await (await launch(server)).authorize(aud=aud)
    assert _answer(answer.headers["location"])["error"] == ["invalid_request"]
