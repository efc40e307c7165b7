"""Behind a TLS proxy: every address that anybody is given is the public one; headers of strangers change nothing."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from jose import jwt

from tests.clients.app import App, register
from tests.clients.person import Person
from tests.clients.tls_proxy import tls_proxy
from tests.sandbox_server import Sandbox, assent_process, copy_of, environment, free_port

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
