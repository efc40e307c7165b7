"""Behind a TLS proxy: every address that anybody is given is the public one; headers of strangers change nothing.

And every kind of client goes all the way there, in the order in which conformance kits go.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from jose import jwt

from tests.clients.app import App, register
from tests.clients.kit_app import WAYS, KitApp, registered
from tests.clients.person import Person
from tests.clients.tls_proxy import tls_proxy
from tests.sandbox_server import Sandbox, assent_process, copy_of, environment, free_port

pytestmark = pytest.mark.slow

SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
FORGED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "81",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-URL": "/my",
    "Forwarded": "host=evil.example;proto=http",
}
_URL = re.compile(r"https?://[^\s\"'<>|\\)]+")


@pytest.fixture(scope="module")
def secure(prepared_data: Path) -> Iterator[Sandbox]:
    """A sandbox as the world sees it through nginx; its root is trusted by everything in this module."""
    inner, outer = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="assent-tls-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        settings = environment(
            copy_of(prepared_data, place / "data"),
            ASSENT_PUBLIC_URL=f"https://localhost:{outer}",
            ASSENT_TRUSTED_PROXIES="127.0.0.1",
        )
        command = ["sandbox", "--port", str(inner)]
        with tls_proxy(place, outer, inner) as root, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(root))
            with assent_process(command, settings, inner, place / "log"):
                answer = httpx.get(f"https://localhost:{outer}/sandbox/manifest.json", timeout=30)
                yield Sandbox(answer.json())


@pytest.fixture(scope="module")
def app(secure: Sandbox) -> App:
    """An app that was launched over TLS."""
    registered = register(secure.issuer, "Over TLS", SCOPE)
    app = App(secure.fhir_base, registered["client_id"], SCOPE)
    user = secure.user()
    with Person(user["username"], user["password"]) as person:
        app.redeem(person.authorize(app.authorize_url()))
    return app


def own_addresses(secure: Sandbox, text: str) -> set[str]:
    """Origins of this server's own addresses in a text; others (code systems) are left alone."""
    port = urlsplit(secure.issuer).port
    found = {urlsplit(url) for url in _URL.findall(text)}
    own = {u for u in found if u.hostname in ("localhost", "127.0.0.1", "evil.example") or u.port == port}
    return {f"{u.scheme}://{u.netloc}" for u in own}


@pytest.mark.parametrize("headers", [{}, FORGED])
@pytest.mark.parametrize(
    "path",
    [
        "/fhir/.well-known/smart-configuration",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/fhir/metadata",
        "/brands",
    ],
)
def test_what_is_discovered_is_public(secure: Sandbox, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{secure.issuer}{path}", headers=headers)
    assert answer.status_code == 200
    assert own_addresses(secure, answer.text) == {secure.issuer}
    assert answer.headers["strict-transport-security"]


def test_tokens_and_keys_name_the_public_address(secure: Sandbox, app: App) -> None:
    keys: dict[str, Any] = httpx.get(f"{secure.issuer}/jwks").json()
    token = app.tokens["access_token"]
    claims = jwt.decode(token, keys, algorithms=["ES256"], audience=secure.fhir_base, issuer=secure.issuer)
    assert claims["iss"] == secure.issuer
    told = jwt.get_unverified_claims(app.tokens["id_token"])
    assert (told["iss"], told["fhirUser"].startswith(secure.fhir_base)) == (secure.issuer, True)


def test_bundles_link_to_the_public_address_and_their_links_work(secure: Sandbox, app: App) -> None:
    page = app.read("Observation?_count=3")
    assert page.status_code == 200
    bundle = page.json()
    links = {link["relation"]: link["url"] for link in bundle["link"]}
    addresses = [*links.values(), *(entry["fullUrl"] for entry in bundle["entry"])]
    assert all(address.startswith(f"{secure.fhir_base}/") for address in addresses)
    following = app.read(links["next"])
    assert following.status_code == 200
    assert own_addresses(secure, json.dumps(following.json()["link"])) == {secure.issuer}
    refreshed = app.refresh()
    assert refreshed.status_code == 200


def test_cookies_are_for_this_host_over_tls_only(secure: Sandbox) -> None:
    answer = httpx.get(f"{secure.issuer}/sign-in")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}


@pytest.mark.parametrize("path", ["/my", "/authorize/continue?request=x", "/developer"])
def test_redirects_stay_on_the_public_address(secure: Sandbox, path: str) -> None:
    answer = httpx.get(f"{secure.issuer}{path}", headers=FORGED)
    assert answer.status_code == 303
    assert urlsplit(answer.headers["location"]).netloc in ("", urlsplit(secure.issuer).netloc)


def _launched(secure: Sandbox, way: str, launch: str) -> KitApp:
    """An app on its way from discovery to tokens: by itself, or from the EHR with a patient and an encounter."""
    user = secure.user()
    from_ehr = launch == "ehr"
    app = registered(secure, way, SCOPE.replace("launch/patient", "launch launch/encounter") if from_ehr else SCOPE)
    if from_ehr:
        app.launch = _launch_context(secure, {"patient": user["patients"][0], "encounter": "e-17", "intent": "summary"})
    with Person(user["username"], user["password"]) as person:
        app.redeem(person.authorize(app.authorize_url()))
    return app


def _launch_context(secure: Sandbox, opened: dict[str, str]) -> str:
    ehr = secure.client("ehr")
    form = {"grant_type": "client_credentials", "scope": "assent/launch.c"}
    answer = httpx.post(f"{secure.issuer}/token", data=form, auth=(ehr["client_id"], ehr["client_secret"]))
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return str(httpx.post(f"{secure.issuer}/launch-contexts", json=opened, headers=headers).json()["launch"])


def _introspected(secure: Sandbox, token: str) -> dict[str, Any]:
    gateway = secure.client("gateway")
    auth = (gateway["client_id"], gateway["client_secret"])
    answer = httpx.post(f"{secure.issuer}/introspect", data={"token": token}, auth=auth)
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize("launch", ["standalone", "ehr"])
@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_client_goes_from_discovery_to_revocation(secure: Sandbox, way: str, launch: str) -> None:
    app = _launched(secure, way, launch)
    patient, first = app.tokens["patient"], dict(app.tokens)
    assert (first["token_type"], patient) == ("Bearer", secure.user()["patients"][0])
    assert first.get("encounter") == ("e-17" if launch == "ehr" else None)
    keys = httpx.get(f"{secure.issuer}/jwks").json()["keys"]
    rsa = {"keys": [key for key in keys if key["kty"] == "RSA"]}
    identity = jwt.decode(first["id_token"], rsa, algorithms=["RS256"], audience=app.client_id, issuer=secure.issuer)
    assert identity["fhirUser"] == f"{secure.fhir_base}/Patient/{patient}"
    assert app.read(f"Patient/{patient}").json()["id"] == patient
    assert app.read(f"Observation?patient={patient}&_count=1").status_code == 200
    assert app.read(f"Condition?patient={patient}").status_code == 403

    narrowed = app.refresh_with(scope="patient/Patient.rs")
    assert narrowed.json()["scope"] == "patient/Patient.rs"
    app.tokens["refresh_token"] = narrowed.json().get("refresh_token", first["refresh_token"])
    answer = app.refresh()
    assert (answer.status_code, answer.headers["cache-control"], answer.headers["pragma"]) == (
        200,
        "no-store",
        "no-cache",
    )
    assert answer.json()["access_token"] != first["access_token"]

    said = _introspected(secure, app.tokens["access_token"])
    assert (said["active"], said["client_id"], said["patient"]) == (True, app.client_id, patient)
    assert (said["iss"], said["fhirUser"]) == (secure.issuer, identity["fhirUser"])
    assert {"scope", "exp", "sub"} <= said.keys()

    assert app.post("revocation_endpoint", token=app.tokens["refresh_token"]).status_code == 200
    assert _introspected(secure, app.tokens["access_token"]) == {"active": False}
    assert app.read(f"Patient/{patient}").status_code == 401
    refused = app.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("way", WAYS)
def test_what_kits_get_wrong_on_purpose_is_refused(secure: Sandbox, way: str) -> None:
    app, user = registered(secure, way, SCOPE), secure.user()
    for wrong in ({"aud": "https://elsewhere.example/fhir"}, {"code_challenge_method": "plain"}, {"launch": "made-up"}):
        url = httpx.URL(app.authorize_url()).copy_merge_params(wrong)
        answer = httpx.get(url)
        assert "code" not in httpx.URL(answer.headers.get("location", "")).params, wrong
    with Person(user["username"], user["password"]) as person:
        returned = httpx.URL(person.authorize(app.authorize_url())).params["code"]
    exchange = {"grant_type": "authorization_code", "redirect_uri": app.redirect_uri}
    for form in (
        {**exchange, "code": "BAD_CODE", "code_verifier": "v" * 50},
        {**exchange, "code": returned},
        {**exchange, "code": returned, "code_verifier": ""},
        {**exchange, "code": returned, "code_verifier": "v" * 50},
    ):
        answer = app.post("token_endpoint", **form)
        assert answer.status_code == 400, form
        assert answer.json()["error"] in ("invalid_grant", "invalid_request")
    stranger = {"client_assertion": "x.y.z"} if app.key is not None else {"client_id": "BAD_CLIENT_ID"}
    assert app.post("token_endpoint", **exchange, code=returned, **stranger).status_code in (400, 401)
    app = _launched(secure, way, "standalone")
    made_up = app.post("token_endpoint", grant_type="refresh_token", refresh_token=app.client_id)
    assert (made_up.status_code, made_up.json()["error"]) == (400, "invalid_grant")
    wider = app.refresh_with(scope="patient/Condition.rs")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    for headers in ({}, {"Authorization": "Bearer invalid"}):
        answer = httpx.get(f"{secure.fhir_base}/Patient/{app.tokens['patient']}", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Bearer")


def test_older_versions_of_tls_are_not_spoken(secure: Sandbox) -> None:
    """g10: TLS 1.2 or later; nginx as the documents have it leaves its own defaults."""
    port = urlsplit(secure.issuer).port
    for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = ssl.create_default_context()
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = version
        with socket.create_connection(("127.0.0.1", port)) as plain:
            if works:
                with context.wrap_socket(plain, server_hostname="localhost") as spoken:
                    assert spoken.version() == "TLSv1.2"
            else:
                with pytest.raises(ssl.SSLError):
                    context.wrap_socket(plain, server_hostname="localhost")
