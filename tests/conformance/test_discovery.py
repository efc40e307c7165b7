"""SMART 2.2, "Conformance": the discovery document says what the server does, and it does what it says."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from smart.discovery import CAPABILITIES
from tests.conformance.launching import FHIR_BASE, launch
from tests.leaks.service import service
from tests.leaks.world import ISSUER, World
from tests.sandbox_server import Sandbox

PATH = "/fhir/.well-known/smart-configuration"


async def _document(server: World, **headers: str) -> dict[str, Any]:
    answer = await server.http.get(PATH, headers=headers)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.smart(30, 372, 374, 376, 377, 380)
@pytest.mark.parametrize("accept", [None, "application/json", "application/fhir+xml", "text/html", "image/png;q=0.1"])
async def test_the_document_is_json_below_the_fhir_base_whatever_is_accepted(server: World, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = await server.http.get(f"{FHIR_BASE}/.well-known/smart-configuration", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)


@pytest.mark.smart(228, 286, 287, 288, 289, 373, 381, 382, 383, 384, 385, 386, 390, 391, 392, 393, 394)
async def test_the_document_names_every_endpoint_and_method(server: World) -> None:
    found = await _document(server)
    assert found["issuer"] == ISSUER
    endpoints = {
        "authorization_endpoint": "authorize",
        "token_endpoint": "token",
        "introspection_endpoint": "introspect",
        "revocation_endpoint": "revoke",
        "management_endpoint": "my",
        "jwks_uri": "jwks",
    }
    assert {name: found[name] for name in endpoints} == {n: f"{ISSUER}/{path}" for n, path in endpoints.items()}
    assert found["grant_types_supported"] == [
        *("authorization_code", "refresh_token", "client_credentials"),
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ]
    methods = {"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
    assert set(found["token_endpoint_auth_methods_supported"]) == methods
    assert {"RS384", "ES384"} <= set(found["token_endpoint_auth_signing_alg_values_supported"])
    assert found["response_types_supported"] == ["code"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["scopes_supported"]
    assert found["capabilities"] == list(CAPABILITIES)


@pytest.mark.parametrize("path", ["openid-configuration", "oauth-authorization-server"])
async def test_where_clients_sign_assertions_the_algorithms_are_named(server: World, path: str) -> None:
    found = (await server.http.get(f"/.well-known/{path}")).json()
    for endpoint in ("token", "introspection", "revocation"):  # RFC 8414 §2: required beside `private_key_jwt`
        assert "private_key_jwt" in found[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"RS384", "ES384"} <= set(found[f"{endpoint}_endpoint_auth_signing_alg_values_supported"])


@pytest.mark.smart(378)
async def test_every_address_in_the_document_is_absolute(server: World) -> None:
    found = await _document(server)
    addresses = {name: found[name] for name in found if name.endswith(("_endpoint", "_uri", "issuer", "_bundle"))}
    assert len(addresses) >= 7
    for name, address in addresses.items():
        assert urlsplit(address).scheme in ("http", "https"), name
        assert urlsplit(address).netloc, name


@pytest.mark.smart(391, 392, 385, 383, 382)
async def test_every_endpoint_in_the_document_is_there(server: World) -> None:
    found = await _document(server)
    for name in ("authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        assert (await server.http.post(found[name])).status_code in (400, 401), name
    assert (await server.http.get(found["management_endpoint"])).status_code == 303  # to the sign-in
    assert (await server.http.get(found["jwks_uri"])).json()["keys"]


@pytest.mark.smart(389)
async def test_every_scope_in_the_document_is_granted_when_it_is_asked_for(server: World) -> None:
    announced = (await _document(server))["scopes_supported"]
    own = await service(server, {}, registered="system/*.rs")
    assert own.token["scope"] == "system/*.rs"
    scopes = [scope for scope in announced if scope not in ("launch", "system/*.rs")]  # an EHR's, and a service's
    asked = await launch(server, " ".join(scopes))
    categories = [c.code for c in server.assent.authz.catalogue.categories.values()]
    app = await asked.app(categories)
    assert set(scopes) <= set(app.token["scope"].split(" "))


@pytest.mark.smart(126, 285, 346, 348, 350)
async def test_the_capabilities_of_access_for_standalone_apps_are_announced(server: World) -> None:
    found = set((await _document(server))["capabilities"])
    assert {"launch-standalone", "context-standalone-patient", "permission-patient"} <= found
    assert {"client-public", "client-confidential-symmetric", "client-confidential-asymmetric"} <= found
    assert {"permission-user", "permission-v1", "permission-v2"} <= found


@pytest.mark.smart(349, 351)
async def test_the_capabilities_of_access_for_apps_that_an_ehr_launches_are_announced(server: World) -> None:
    found = set((await _document(server))["capabilities"])
    assert {"launch-ehr", "context-ehr-patient", "context-ehr-encounter"} <= found
    assert {"client-public", "client-confidential-symmetric"} <= found
    assert {"permission-patient", "permission-user"} <= found


@pytest.mark.smart(371, 439)
async def test_an_app_keeps_state_at_the_endpoint_that_is_announced_for_it(server: World) -> None:
    found = await _document(server)
    assert "smart-app-state" in found["capabilities"]
    (endpoint,) = found["associated_endpoints"]
    assert endpoint == {"url": f"{ISSUER}/app-state", "capabilities": ["smart-app-state"]}
    app = await (await launch(server, "launch/patient patient/*.rs patient/Basic.cs")).app(("laboratory",))
    about, system = f"{FHIR_BASE}/Patient/ana", "https://app.example"
    kept = {"code": {"coding": [{"system": system, "code": "c"}]}, "subject": {"reference": about}}
    headers = {"Authorization": f"Bearer {app.token['access_token']}"}
    made = await server.http.post(f"{endpoint['url']}/Basic", json={"resourceType": "Basic", **kept}, headers=headers)
    assert made.status_code == 201
    query = {"code": f"{system}|c", "subject": about}
    answer = await server.http.get(f"{endpoint['url']}/Basic", params=query, headers=headers)
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == [made.json()["id"]]


@pytest.mark.smart(387, 388)
async def test_what_is_not_offered_is_not_announced(server: World) -> None:
    found = await _document(server)
    absent = {"user_access_brand_bundle", "user_access_brand_identifier", "smart_app_state_endpoint"}
    assert not {*absent, "registration_endpoint"} & set(found)


@pytest.mark.smart(438, 19)
def test_where_apps_register_themselves_the_endpoint_is_announced(sandbox: Sandbox) -> None:
    found = httpx.get(f"{sandbox.fhir_base}/.well-known/smart-configuration", timeout=30).json()
    assert found["registration_endpoint"] == f"{sandbox.issuer}/register"
    statement = httpx.get(f"{sandbox.fhir_base}/metadata", timeout=30).json()
    (uris,) = statement["rest"][0]["security"]["extension"]
    told = {uri["url"]: uri["valueUri"] for uri in uris["extension"]}
    names = {"authorize": "authorization", "manage": "management", "register": "registration"}
    names |= {"introspect": "introspection", "revoke": "revocation", "token": "token"}
    assert told == {name: found[f"{long}_endpoint"] for name, long in names.items()}
    metadata = {"redirect_uris": ["http://127.0.0.1:9/callback"], "token_endpoint_auth_method": "none"}
    assert httpx.post(found["registration_endpoint"], json=metadata, timeout=30).status_code == 201


@pytest.mark.smart(16)
@pytest.mark.parametrize("path", [PATH, "/fhir/metadata"])
async def test_a_script_from_anywhere_may_read_discovery(server: World, path: str) -> None:
    origin = {"Origin": "https://anywhere.example"}
    answer = await server.http.get(path, headers=origin)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    asked = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    before = await server.http.options(path, headers=asked)
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == "*"
    assert "GET" in before.headers["access-control-allow-methods"]


async def test_the_capability_statement_says_what_system_scopes_open(server: World) -> None:
    statement = (await server.http.get("/fhir/metadata")).json()
    assert "`system/` opens for a backend service" in statement["rest"][0]["security"]["description"]
