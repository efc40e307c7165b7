"""The sandbox's own little apps: they launch, and show what they were allowed to read. For trying things by hand.

They are apps like any other: they know the server by its public URLs only and keep nothing between requests but the
PKCE verifier and state, in a cookie of their own path. INVARIANT: in sandbox mode only.
"""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from assent.sandbox_mode.page import AGAIN, page
from authz.context import AuthzContext
from sandbox.clients import CLIENTS, SandboxClient

_COOKIE: Final = "assent_demo"
_SCOPE: Final = "openid fhirUser offline_access patient/*.rs"
_TYPES: Final = ("Condition", "MedicationRequest", "AllergyIntolerance", "Observation", "Immunization", "Encounter")
_CONTEXT: Final = ("patient", "encounter", "fhirContext", "need_patient_banner", "intent", "smart_style_url", "tenant")


@dataclass(frozen=True, slots=True)
class DemoApp:
    """One app that can be launched here."""

    path: str
    client: SandboxClient
    purpose: str
    words: str

    def address(self, issuer: str) -> str:
        """Its launch URL."""
        return f"{issuer}/sandbox/{self.path}"


def _client(client_id: str) -> SandboxClient:
    return next(client for client in CLIENTS if client.client_id == client_id)


APPS: Final = (
    DemoApp("launch", _client("sandbox-public"), "PATRQT", "a patient's own app"),
    DemoApp("clinic", _client("sandbox-confidential"), "TREAT", "an app for treatment, which clinicians use too"),
)


def demo_routes(context: AuthzContext) -> APIRouter:
    """The launch URL of each app, and `/sandbox/callback`."""
    router = APIRouter(include_in_schema=False)
    # The key lives as long as the process: a launch that a restart interrupts is begun again.
    serializer = URLSafeTimedSerializer(secrets.token_urlsafe(32), salt="demo")
    for app in APPS:
        router.add_api_route(f"/{app.path}", _launch_url(context, app, serializer), methods=["GET"])

    @router.get("/callback")
    async def receive(request: Request) -> Response:
        nothing = '<p><a href="/sandbox/launcher">Begin again</a></p>'
        try:
            kept = serializer.loads(request.cookies.get(_COOKIE, ""), max_age=900)
        except BadSignature:
            return page("Nothing to do", nothing, 400)
        given = request.query_params
        if not secrets.compare_digest(given.get("state", "").encode(), kept["state"].encode()):
            return page("Nothing to do", nothing, 400)
        if "code" not in given:
            return page("The answer was no", f"<p>{html.escape(given.get('error_description', 'no'))}</p>" + AGAIN)
        app = next(app for app in APPS if app.path == kept["app"])
        return await _show(context, app, given["code"], kept["verifier"])

    return router


def _launch_url(context: AuthzContext, app: DemoApp, serializer: URLSafeTimedSerializer) -> Any:
    async def launch(request: Request) -> Response:
        given = request.query_params
        if given.get("iss", context.fhir_base) != context.fhir_base:
            # An app asks only servers that it knows (SMART 2.2, EHR launch).
            return page("Unknown server", "<p>This app works with this sandbox only.</p>" + AGAIN, 400)
        launched = {"launch": given["launch"]} if "launch" in given else {}
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        query = {
            "response_type": "code",
            "client_id": app.client.client_id,
            "redirect_uri": _callback(context),
            "scope": f"{'launch' if launched else 'launch/patient'} {_SCOPE}",
            "state": state,
            "aud": context.fhir_base,
            "purpose_of_use": app.purpose,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
            **launched,
        }
        answer = RedirectResponse(f"{context.issuer}/authorize?{urlencode(query)}", 303)
        sealed = serializer.dumps({"verifier": verifier, "state": state, "app": app.path})
        answer.set_cookie(_COOKIE, str(sealed), max_age=900, path="/sandbox", httponly=True, samesite="lax")
        return answer

    return launch


def _callback(context: AuthzContext) -> str:
    return f"{context.issuer}/sandbox/callback"


async def _show(context: AuthzContext, app: DemoApp, code: str, verifier: str) -> Response:
    """Exchange the code and read a little, over the network like any app."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _callback(context),
        "client_id": app.client.client_id,
        "code_verifier": verifier,
    }
    if app.client.client_secret is not None:
        form["client_secret"] = app.client.client_secret
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(f"{context.issuer}/token", data=form) as answer:
            token: dict[str, Any] = await answer.json()
        if "access_token" not in token:
            return page("No token", f"<p>{html.escape(str(token.get('error_description')))}</p>" + AGAIN, 400)
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        seen: dict[str, object] = {}
        for kind in _TYPES:
            async with session.get(f"{context.fhir_base}/{kind}?_count=200", headers=headers) as answer:
                body = await answer.json(content_type=None)
            seen[kind] = len(body.get("entry", ())) if answer.status == 200 else body["issue"][0]["diagnostics"]
    said: dict[str, object] = {name: _shown(token[name]) for name in _CONTEXT if name in token}
    scopes = "\n".join(html.escape(s) for s in token["scope"].split(" "))
    return page(
        f"What {app.client.name} got",
        f"<h2>Launch context</h2>{_table(said)}<h2>Granted</h2><pre>{scopes}</pre>"
        f"<h2>Resources</h2><p>On a first page of up to 200, or why not:</p>{_table(seen)}" + AGAIN,
    )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(rows: Mapping[str, object]) -> str:
    cells = (f"<tr><th scope='row'>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"
