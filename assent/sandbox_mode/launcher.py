"""`/sandbox/launcher`: the page from which the sandbox's apps are launched, by themselves or by a made-up EHR.

The EHR is a client like any other: it gets a token of its own, creates the launch over HTTP, and sends the browser to
the app's launch URL with `iss` and `launch` (SMART App Launch 2.2, EHR launch). INVARIANT: in sandbox mode only.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from assent.sandbox_mode.demo import APPS
from assent.sandbox_mode.page import AGAIN, page
from authz.clients.clients import ClientError, check_redirect_uri
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.oauth_errors import OAuthError
from sandbox.clients import CLIENTS
from sandbox.people import USERS

_EHR: Final = next(client for client in CLIENTS if client.kind == "ehr")
_PATIENTS: Final = {patient_id: name for user in USERS for patient_id, name, _ in user.patients}
_PEOPLE: Final = {user.fhir_user: user.display_name for user in USERS if user.fhir_user is not None}


class _LaunchRefused(Exception):
    """The server didn't take the launch; the text is its own, for the EHR's developer."""


def launcher_routes(context: AuthzContext) -> APIRouter:
    """The page and its form."""
    router = APIRouter(include_in_schema=False)

    @router.get("/launcher")
    async def show() -> Response:
        return page("Try it", _standalone() + _ehr(context.issuer))

    @router.post("/launcher")
    async def launch(request: Request) -> Response:
        try:
            form = await read_form(request)
            url = form.get("launch_url", "")
            check_redirect_uri(url)
            created = await _create_launch(context.issuer, _context_of(form))
        except (OAuthError, ClientError, _LaunchRefused) as refused:
            return page("This can't be launched", f"<p>{html.escape(str(refused))}</p>{AGAIN}", 400)
        query = urlencode({"iss": context.fhir_base, "launch": created})
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return RedirectResponse(f"{url}{'&' if urlsplit(url).query else '?'}{query}", 303, headers)

    return router


def _context_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The launch as the form says it; empty fields say nothing."""
    context: dict[str, Any] = {name: form[name] for name in ("patient", "encounter", "user", "intent") if name in form}
    return context | {"need_patient_banner": "need_patient_banner" in form}


async def _create_launch(issuer: str, launch_context: Mapping[str, Any]) -> str:
    auth = aiohttp.BasicAuth(_EHR.client_id, _EHR.client_secret or "")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(f"{issuer}/token", data={"grant_type": "client_credentials"}, auth=auth) as answer:
            token = await answer.json()
        headers = {"Authorization": f"Bearer {token.get('access_token', '')}"}
        async with session.post(f"{issuer}/launch-contexts", json=launch_context, headers=headers) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
            if answer.status != 201:
                raise _LaunchRefused(str(body.get("title", "the launch was refused")))
            return str(body["launch"])


def _standalone() -> str:
    links = "".join(
        f"<p>{html.escape(app.client.name)} is {html.escape(app.words)}.</p>"
        f'<p class="actions"><a class="button" href="/sandbox/{app.path}">Launch {html.escape(app.client.name)}</a></p>'
        for app in APPS
    )
    return (
        '<p class="lead">These pages play the apps. They ask for a patient\'s whole record; the patient decides what '
        f'they get.</p><section class="card"><h2>An app by itself</h2>{links}</section>'
    )


def _ehr(issuer: str) -> str:
    addresses = "".join(f'<option value="{html.escape(app.address(issuer))}">' for app in APPS)
    first = html.escape(APPS[0].address(issuer))
    return (
        '<section class="card"><h2>An app from an EHR</h2>'
        "<p>This form plays the EHR: it knows who is looking at whose record, and tells the app.</p>"
        '<form method="post" action="/sandbox/launcher">'
        '<div class="field"><label for="launch_url">App launch URL</label>'
        f'<input id="launch_url" name="launch_url" list="apps" value="{first}" required>'
        f'<datalist id="apps">{addresses}</datalist></div>'
        f"{_select('patient', 'Patient', 'chosen by the person', _PATIENTS.items())}"
        f"{_select('user', 'User', 'whoever signs in', _PEOPLE.items())}"
        f"{_text('encounter', 'Encounter id', 64)}{_text('intent', 'Intent', 256)}"
        '<div class="row"><input id="banner" name="need_patient_banner" type="checkbox" value="true" checked>'
        '<label for="banner">App shows a patient banner</label></div>'
        '<div class="actions"><button class="button primary" type="submit">Launch</button></div></form>'
        '<p class="hint">A clinician gets what the patient shares for treatment. So let a patient launch '
        f"{html.escape(APPS[1].client.name)} first, then launch it from here as the clinician, at "
        f"<code>{html.escape(APPS[1].address(issuer))}</code>.</p></section>"
    )


def _text(name: str, label: str, most: int) -> str:
    return (
        f'<div class="field"><label for="{name}">{label}</label>'
        f'<input id="{name}" name="{name}" maxlength="{most}"></div>'
    )


def _select(name: str, label: str, nobody: str, choices: Iterable[tuple[str, str]]) -> str:
    options = "".join(
        f'<option value="{html.escape(value)}">{html.escape(title)}</option>'
        for value, title in sorted(choices, key=lambda choice: choice[1])
    )
    return (
        f'<div class="field"><label for="{name}">{label}</label>'
        f'<select id="{name}" name="{name}"><option value="">({nobody})</option>{options}</select></div>'
    )
