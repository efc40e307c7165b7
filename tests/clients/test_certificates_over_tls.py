"""A certificate in a real TLS connection, through nginx as the documents have it, to a token that needs it."""

from __future__ import annotations

import base64
import hashlib
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jose import jwt

from tests.authz.test_client_certificates import MINE
from tests.clients.app import REDIRECT_URI, register
from tests.clients.person import Person
from tests.clients.tls_proxy import tls_proxy
from tests.sandbox_server import Sandbox, assent_process, environment, free_port

HEADER = "Client-Cert"
SCOPE = "launch/patient patient/Patient.rs"
VERIFIER = "v" * 50


@dataclass(frozen=True, slots=True)
class Secure:
    """A sandbox behind nginx, and how to reach it."""

    sandbox: Sandbox
    root: Path
    folder: Path

    def client(self, name: str | None) -> httpx.Client:
        """Somebody who connects with the certificate of that name, or with none."""
        context = ssl.create_default_context(cafile=str(self.root))
        if name is not None:
            context.load_cert_chain(_certificate(self.folder / f"{name}.pem"))
        return httpx.Client(verify=context, timeout=30)


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    """For this module."""
    inner, outer = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="assent-mtls-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        settings = environment(
            place / "data",
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
    forged = {HEADER: MINE.pem}
    with secure.client("mine") as mine, secure.client("other") as other, secure.client(None) as nobody:
        for headers in ({}, forged):
            bare = nobody.post(discovered["token_endpoint"], data=form, headers=headers)
            assert (bare.status_code, bare.json()["error"]) == (400, "invalid_request")
        answer = mine.post(discovered["token_endpoint"], data=form, headers=forged)
        token = answer.json()["access_token"]
        certificate = x509.load_pem_x509_certificate((secure.folder / "mine.pem").read_bytes())
        told = jwt.get_unverified_claims(token)["cnf"]["x5t#S256"]
        assert base64.urlsafe_b64decode(told + "=") == certificate.fingerprint(hashes.SHA256())
        bearer, path = {"Authorization": f"Bearer {token}"}, f"{sandbox.fhir_base}/Patient/{user['patients'][0]}"
        assert mine.get(path, headers=bearer).status_code == 200
        assert other.get(path, headers=bearer).status_code == 401
        assert nobody.get(path, headers=bearer).status_code == 401


def _certificate(place: Path) -> Path:
    """A self-signed one with its key, in one file."""
    if not place.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        signed = dated.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        place.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return place
