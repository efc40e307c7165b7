"""A certificate in a real TLS connection, through nginx as the documents have it, to a token that needs it."""

from __future__ import annotations

import base64
import hashlib
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from jose import jwt

from tests.authz.certificates import Certificate
from tests.clients.app import REDIRECT_URI, register
from tests.clients.person import Person
from tests.clients.tls_proxy import tls_proxy
from tests.sandbox_server import Sandbox, assent_process, copy_of, environment, free_port

HEADER = "Client-Cert"
SCOPE = "launch/patient patient/Patient.rs"
VERIFIER = "v" * 50


@dataclass(frozen=True, slots=True)
class Secure:
    """A sandbox behind nginx, and how to reach it."""

    sandbox: Sandbox
    root: Path
    folder: Path

    def client(self, certificate: Certificate | None) -> httpx.Client:
        """Somebody who connects with that certificate, or with none."""
        context = ssl.create_default_context(cafile=str(self.root))
        if certificate is not None:
            place = self.folder / f"{certificate.x5t}.pem"
            place.write_bytes(certificate.private + certificate.pem)
            context.load_cert_chain(place)
        return httpx.Client(verify=context, timeout=30)


@pytest.fixture(scope="module")
def secure(prepared_data: Path) -> Iterator[Secure]:
    """For this module."""
    inner, outer = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="assent-mtls-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        settings = environment(
            copy_of(prepared_data, place / "data"),
            ASSENT_PUBLIC_URL=f"https://localhost:{outer}",
            ASSENT_TRUSTED_PROXIES="127.0.0.1",
            ASSENT_CLIENT_CERTIFICATE_HEADER=HEADER,
        )
        command = ["sandbox", "--port", str(inner)]
        page = "security-profile.md"
        with tls_proxy(place, outer, inner, page=page) as root, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(root))
            with assent_process(command, settings, inner, place / "log"):
                manifest = httpx.get(f"https://localhost:{outer}/sandbox/manifest.json", timeout=30).json()
                yield Secure(Sandbox(manifest), root, place)


def test_a_bound_token_counts_over_connections_with_its_certificate_only(secure: Secure) -> None:
    sandbox = secure.sandbox
    discovered = httpx.get(f"{sandbox.fhir_base}/.well-known/smart-configuration").json()
    assert discovered["tls_client_certificate_bound_access_tokens"] is True
    registered = register(sandbox.issuer, "Certified", SCOPE, tls_client_certificate_bound_access_tokens=True)
    client_id = registered["client_id"]
    user = sandbox.user()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "state": "s",
        "aud": sandbox.fhir_base,
        "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    with Person(user["username"], user["password"]) as person:
        returned = person.authorize(
            str(httpx.URL(discovered["authorization_endpoint"], params=asked)), {"Demographics"}
        )
    form = {"grant_type": "authorization_code", "code": httpx.URL(returned).params["code"]}
    form |= {"client_id": client_id, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    own, another = Certificate.new(), Certificate.new()
    forged = {HEADER: another.escaped}
    with secure.client(own) as mine, secure.client(another) as other, secure.client(None) as nobody:
        for headers in ({}, forged):
            bare = nobody.post(discovered["token_endpoint"], data=form, headers=headers)
            assert (bare.status_code, bare.json()["error"]) == (400, "invalid_request")
        answer = mine.post(discovered["token_endpoint"], data=form, headers=forged)
        token = answer.json()["access_token"]
        assert jwt.get_unverified_claims(token)["cnf"] == {"x5t#S256": own.x5t}
        bearer, path = {"Authorization": f"Bearer {token}"}, f"{sandbox.fhir_base}/Patient/{user['patients'][0]}"
        assert mine.get(path, headers=bearer).status_code == 200
        assert other.get(path, headers=bearer).status_code == 401
        assert nobody.get(path, headers=bearer).status_code == 401
