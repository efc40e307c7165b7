"""The sandbox's own little app: it launches, and shows what it was allowed to read. For trying things by hand.

It is an app like any other: it knows the server by its public URLs only and keeps nothing between requests but the
PKCE verifier and state, in a cookie of its own path. INVARIANT: in sandbox mode only.
"""

from __future__ import annotations

import html
import secrets
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from authz.context import AuthzContext

CLIENT_ID: Final = "sandbox-public"
_COOKIE: Final = "assent_demo"
_SCOPE: Final = "openid fhirUser launch/patient offline_access patient/*.rs"
_TYPES: Final = ("Condition", "MedicationRequest", "AllergyIntolerance", "Observation", "Immunization", "Encounter")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE: Final = (
    "body{font:1rem/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:.5rem}table{border-collapse:collapse}"
    "td,th{padding:.25rem 1rem .25rem 0;text-align:left}"
)


def demo_routes(context: AuthzContext) -> APIRouter:
    """`/sandbox/launcher` and `/sandbox/callback`."""
    router = APIRouter(include_in_schema=False)
    # The key lives as long as the process: a launch that a restart interrupts is begun again.
    serializer = URLSafeTimedSerializer(secrets.token_urlsafe(32), salt="demo")
    callback = f"{context.issuer}/sandbox/callback"

    @router.get("/launcher")
    async def launcher() -> Response:
        return _page(
            "Try it",
            "<p>This page plays an app. It asks to read a patient's whole record; the patient decides what it gets.</p>"
            '<p><a href="/sandbox/launch">Launch the app</a></p>'
            f"<p>It asks for <code>{html.escape(_SCOPE)}</code>.</p>",
        )

    @router.get("/launch")
    async def launch() -> Response:
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        query = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": callback,
            "scope": _SCOPE,
            "state": state,
            "aud": context.fhir_base,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        answer = RedirectResponse(f"{context.issuer}/authorize?{urlencode(query)}", 303)
        sealed = serializer.dumps({"verifier": verifier, "state": state})
        answer.set_cookie(_COOKIE, str(sealed), max_age=900, path="/sandbox", httponly=True, samesite="lax")
        return answer

    @router.get("/callback")
    async def receive(request: Request) -> Response:
        try:
            kept = serializer.loads(request.cookies.get(_COOKIE, ""), max_age=900)
        except BadSignature:
            return _page("Nothing to do", '<p><a href="/sandbox/launcher">Begin again</a></p>', 400)
        given = request.query_params
        if not secrets.compare_digest(given.get("state", ""), kept["state"]):
            return _page("Nothing to do", '<p><a href="/sandbox/launcher">Begin again</a></p>', 400)
        if "code" not in given:
            return _page("The answer was no", f"<p>{html.escape(given.get('error_description', 'no'))}</p>" + _AGAIN)
        return await _show(context, callback, given["code"], kept["verifier"])

    return router


_AGAIN: Final = '<p><a href="/sandbox/launcher">Launch again</a> · <a href="/my">My sharing</a></p>'


async def _show(context: AuthzContext, callback: str, code: str, verifier: str) -> Response:
    """Exchange the code and read a little, over the network like any app."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback,
        "client_id": CLIENT_ID,
        "code_verifier": verifier,
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(f"{context.issuer}/token", data=form) as answer:
            token: dict[str, Any] = await answer.json()
        if "access_token" not in token:
            return _page("No token", f"<p>{html.escape(str(token.get('error_description')))}</p>" + _AGAIN, 400)
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        rows = []
        for kind in _TYPES:
            async with session.get(f"{context.fhir_base}/{kind}?_count=200", headers=headers) as answer:
                body = await answer.json(content_type=None)
            seen = len(body.get("entry", ())) if answer.status == 200 else body["issue"][0]["diagnostics"]
            rows.append(f"<tr><th scope='row'>{kind}</th><td>{html.escape(str(seen))}</td></tr>")
    scopes = "\n".join(html.escape(s) for s in token["scope"].split(" "))
    return _page(
        "What the app got",
        f"<p>Patient <code>{html.escape(str(token.get('patient')))}</code>. Granted:</p><pre>{scopes}</pre>"
        f"<p>Resources on a first page of up to 200, or why not:</p><table>{''.join(rows)}</table>" + _AGAIN,
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    text = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": _POLICY})
