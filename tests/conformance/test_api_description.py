"""`/openapi.json`: true to the routes there are, and to what they answer, as Schemathesis finds when it tries them."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from joserfc import jwt
from joserfc.jwk import ECKey

from assent.api_description import api_description
from tests.clients.app import App, register
from tests.clients.person import Person
from tests.conformance.launching import ASSERTION_TYPE
from tests.leaks.world import World
from tests.sandbox_server import Sandbox

pytestmark = pytest.mark.slow
METHODS = {"get", "put", "post", "delete", "patch"}
EXAMPLES = os.environ.get("ASSENT_API_EXAMPLES", "15")
"""Requests that are made up for each operation, beside those at the bounds of every parameter."""


def test_every_route_for_programs_is_described(server: World) -> None:
    described = {(path, m) for path, item in api_description()["paths"].items() for m in item.keys() & METHODS}
    routes = {
        (route.path, method.lower())
        for route in iter_route_contexts(server.assent.site.routes)
        if route.methods and getattr(route, "include_in_schema", False)  # those of pages aren't
        for method in route.methods
    }
    assert len(routes) > 10
    assert routes <= described


async def test_what_a_server_does_not_have_is_not_described(server: World) -> None:
    described = (await server.http.get("/openapi.json")).json()["paths"]
    assert "/token" in described
    assert not described.keys() & {"/sandbox/manifest.json", "/brands"}


def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(sandbox: Sandbox) -> None:
    told, expected = {}, {}
    for path, item in httpx.get(f"{sandbox.issuer}/openapi.json").json()["paths"].items():
        at = (
            path.replace("{type}", "Observation")
            .replace("{id}", "x")
            .replace("{client_id}", "x")
            .replace("{version}", "1")
        )
        answer = httpx.request("TRACE", f"{sandbox.issuer}{at}")
        told[path] = (answer.status_code, {m.strip() for m in answer.headers.get("allow", "").split(",")} - {"HEAD"})
        expected[path] = (405, {method.upper() for method in item.keys() & METHODS})
    assert told == expected


def test_schemathesis_finds_no_failure_and_nothing_that_is_not_described(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(_settings(sandbox), encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "--no-color", "run"]
    command += [f"{sandbox.issuer}/openapi.json", "--phases", "coverage,fuzzing", "--max-redirects", "0"]
    command += ["--max-examples", EXAMPLES, "--generation-deterministic"]
    # The rules of a request are richer than its schema: that it fits the schema doesn't make it good.
    command += ["--continue-on-failure", "--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1200, check=False)  # noqa: S603 - this interpreter
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-2000:]
    operations = sum(len(item.keys() & METHODS) for item in api_description()["paths"].values())
    assert f"Tested: {operations}" in done.stdout


def _settings(sandbox: Sandbox) -> str:
    """Credentials of the right kind for each operation, so that what lies behind them is reached."""
    gateway, app = sandbox.client("gateway"), sandbox.client("confidential-symmetric")
    own = register(sandbox.issuer, "Described", "launch/patient patient/*.rs")
    return "".join(
        (
            _operations('include-tag = "FHIR"', f"Bearer {_reader(sandbox)}", type="Observation"),
            _operations('include-tag = "Bulk export"', f"Bearer {_exporter(sandbox)}", type="Observation"),
            _operations('include-tag = "Consents"', f"Bearer {_recorder(sandbox)}"),
            _operations('include-tag = "App State"', f"Bearer {_reader(sandbox)}"),
            _operations('include-path = "/userinfo"', f"Bearer {_reader(sandbox)}"),
            _operations('include-path = "/introspect"', _basic(gateway)),
            _operations('include-path = ["/token", "/revoke", "/par"]', _basic(app)),
            _operations('include-path = "/launch-contexts"', f"Bearer {_ehr(sandbox)}"),
            _operations(
                'include-path = "/register/{client_id}"',
                f"Bearer {own['registration_access_token']}",
                client_id=own["client_id"],
            ),
        )
    )


def _operations(which: str, authorization: str, **path: str) -> str:
    parameters = ", ".join(f'"path.{name}" = "{value}"' for name, value in path.items())
    return f"""
[[operations]]
{which}
headers = {{ Authorization = "{authorization}" }}
parameters = {{ {parameters} }}
"""


def _reader(sandbox: Sandbox) -> str:
    scope = "launch/patient openid fhirUser patient/*.rs patient/Basic.cruds user/Basic.cruds"
    app = App(sandbox.fhir_base, register(sandbox.issuer, "Reader", scope)["client_id"], scope)
    user = sandbox.user()
    with Person(user["username"], user["password"]) as person:
        return str(app.redeem(person.authorize(app.authorize_url()))["access_token"])


def _recorder(sandbox: Sandbox) -> str:
    desk = next(c for c in sandbox.manifest["clients"] if c["client_id"] == "sandbox-recorder")
    key = ECKey.import_key(desk["private_jwks"]["keys"][0])
    return _service(sandbox, desk["client_id"], key, "assent/consents.cruds")


def _exporter(sandbox: Sandbox) -> str:
    """A service of its own: so many exports an hour are one client's, and others try the sandbox's."""
    key = ECKey.generate_key("P-384", parameters={"kid": "k1", "alg": "ES384", "use": "sig"})
    about: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"]}
    about |= {"jwks": {"keys": [key.as_dict(private=False)]}, "redirect_uris": [], "response_types": []}
    made = register(sandbox.issuer, "Exporter", "system/*.rs", **about)
    return _service(sandbox, made["client_id"], key, "system/*.rs")


def _service(sandbox: Sandbox, me: str, key: ECKey, scope: str) -> str:
    end = f"{sandbox.issuer}/token"
    claims = {"iss": me, "sub": me, "aud": end, "exp": int(time.time()) + 60, "jti": secrets.token_hex()}
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode({"alg": "ES384", "kid": str(key.kid)}, claims, key, ["ES384"]),
    }
    answer = httpx.post(end, data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def _ehr(sandbox: Sandbox) -> str:
    ehr = sandbox.client("ehr")
    form = {"grant_type": "client_credentials", "scope": "assent/launch.c"}
    answer = httpx.post(f"{sandbox.issuer}/token", data=form, headers={"Authorization": _basic(ehr)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def _basic(client: dict[str, Any]) -> str:
    pair = f"{client['client_id']}:{client['client_secret']}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
