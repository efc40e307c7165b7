"""Clients from npm, unmodified, as apps of each kind that they can be: launch, token, read, refresh, revoke."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.clients.app import REDIRECT_URI, register
from tests.clients.node_modules_folder import HERE, installed
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

pytestmark = pytest.mark.slow
SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Immunization.rs"
KINDS = ("public", "secret", "ES384", "RS384")
LIBRARIES = {
    "openid_client": KINDS,
    "oauth4webapi": KINDS,
    "oidc_client_ts": ("public", "secret"),
    "passport_oauth2": ("public", "secret by post"),
    "simple_oauth2": ("secret",),
}
"""Of each library, the kinds of client that it can be."""


class NodeApp:
    """A program that speaks lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, value: dict[str, Any]) -> None:
        """Write a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Read a line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(self._process.stderr.read()[-4_000:])
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def running(script: str) -> Iterator[NodeApp]:
    """Run a program of `node_app`; it is ended with the test."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("`node` isn't installed, so no JavaScript client can run")
    installed("simple-oauth2")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([node, str(HERE / "node_app" / f"{script}.mjs")], text=True, **pipes)  # type: ignore[call-overload]  # noqa: S603
    try:
        yield NodeApp(process)
    finally:
        process.kill()
        process.communicate()


def registered(sandbox: Sandbox, name: str, kind: str, **more: Any) -> dict[str, Any]:
    """An app of a kind: its `clientId`, and what it signs in with."""
    if kind == "public":
        return {"clientId": register(sandbox.issuer, name, SCOPE, **more)["client_id"]}
    if kind.startswith("secret"):
        method = "client_secret_post" if kind.endswith("post") else "client_secret_basic"
        found = register(sandbox.issuer, name, SCOPE, token_endpoint_auth_method=method)
        return {"clientId": found["client_id"], "secret": found["client_secret"]}
    key = (
        ECKey.generate_key("P-384", {"kid": "k1", "alg": kind, "use": "sig"})
        if kind == "ES384"
        else RSAKey.generate_key(2048, {"kid": "k1", "alg": kind, "use": "sig"})
    )
    keys = {"keys": [key.as_dict(private=False)]}
    more |= {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys}
    found = register(sandbox.issuer, name, SCOPE, **more)
    private = {name: value for name, value in key.as_dict(private=True).items() if name not in ("use", "alg")}
    return {"clientId": found["client_id"], "privateJwk": private}


@pytest.mark.parametrize(
    ("library", "kind"), [(library, kind) for library, kinds in LIBRARIES.items() for kind in kinds]
)
def test_an_app_goes_from_discovery_to_revocation(sandbox: Sandbox, library: str, kind: str) -> None:
    user = sandbox.user()
    patient = user["patients"][0]
    with running(library) as app, Person(user["username"], user["password"]) as person:
        about = {"issuer": sandbox.issuer, "fhirBase": sandbox.fhir_base, "redirectUri": REDIRECT_URI, "scope": SCOPE}
        app.tell(about | {"read": f"Patient/{patient}"} | registered(sandbox, f"{library} {kind}", kind))
        returned = person.authorize(app.hear()["url"], {"Demographics"})
        app.tell({"url": returned})
        told = app.hear()
        assert told["tokens"]["patient"] == patient
        assert "patient/Immunization.rs" not in told["tokens"]["scope"]
        assert told["claims"]["fhirUser"] == told["who"]["fhirUser"] == f"{sandbox.fhir_base}/{user['fhirUser']}"
        assert app.hear() == {"read": {"status": 200, "type": "Patient"}}
        assert app.hear() == {"renewed": True, "read": {"status": 200, "type": "Patient"}}
        assert app.hear() == {"revoked": "invalid_grant"}


@pytest.mark.parametrize(
    ("kind", "demanded"),
    [
        ("public", ("dpop_bound_access_tokens", "require_pushed_authorization_requests")),
        (
            "ES384",
            (
                "dpop_bound_access_tokens",
                "require_pushed_authorization_requests",
                "require_signed_request_object",
            ),
        ),
    ],
)
def test_an_app_that_must_use_the_whole_security_profile_does(
    sandbox: Sandbox, kind: str, demanded: tuple[str, ...]
) -> None:
    user = sandbox.user()
    patient = user["patients"][0]
    with running("openid_client_profile") as app, Person(user["username"], user["password"]) as person:
        about = {"issuer": sandbox.issuer, "fhirBase": sandbox.fhir_base, "redirectUri": REDIRECT_URI, "scope": SCOPE}
        mine = registered(sandbox, f"profile {kind}", kind, **dict.fromkeys(demanded, True))
        details = [{"type": "urn:assent:consent", "categories": ["demographics"]}]
        app.tell(about | {"read": f"Patient/{patient}", "details": details} | mine)
        begun = app.hear()
        assert begun["parameters"] == ["client_id", "request_uri"]
        person.open(begun["url"])
        person.sign_in()
        person.choose_patient()
        assert person.offered() == ["Demographics"]
        app.tell({"url": person.decide()})
        who = f"{sandbox.fhir_base}/{user['fhirUser']}"
        told = app.hear()
        (granted,) = told.pop("details")
        assert told == {"type": "dpop", "patient": patient, "who": who}
        assert (granted["type"], granted["categories"]) == ("urn:assent:consent", ["demographics"])
        assert app.hear() == {"read": 200, "asBearer": 401, "byAnotherKey": 401}
        theirs = "invalid_grant" if kind == "public" else "not tried"
        assert app.hear() == {"unproven": "invalid_dpop_proof", "byAnotherKey": theirs, "mine": "dpop"}
