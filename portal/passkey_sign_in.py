"""Signing in with a passkey: the page's script asks for options, an authenticator answers, a form brings the answer."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from authz.sign_in.challenges import Begun
from authz.sign_in.passkeys import PasskeyRefused
from portal.csrf import is_own_form
from portal.form_reading import read_form
from portal.new_session import enter, form_secret, needed_since, peer
from portal.pages import HEADERS
from portal.safe_next import safe_next
from portal.visit import Portal

PATH: Final = "/sign-in/passkey"
OPTIONS: Final = f"{PATH}/options"


def passkey_sign_in_routes(portal: Portal) -> APIRouter:
    """`/sign-in/passkey` and its options; none where passkeys aren't offered."""
    router = APIRouter(include_in_schema=False)
    passkeys = portal.ports.ways.passkeys
    if passkeys is None:
        return router

    @router.post(OPTIONS)
    async def options(request: Request) -> Response:
        here = portal.seen_by(request)
        form, browser = await read_form(request), form_secret(here, request)
        if browser is None or not is_own_form(request, form.one("csrf"), browser):
            return here.pages.error("foreign-form", 403)
        next_page = safe_next(form.one("next"))
        if not await here.ports.sessions.may_begin(peer(request)):
            return here.pages.page("sign_in_problem.html", status=429, kind="too-many", next_page=next_page)
        return as_json(await passkeys.ask(browser, Begun(next_page, await needed_since(here, next_page))))

    @router.post(PATH)
    async def sign_in(request: Request) -> Response:
        here = portal.seen_by(request)
        form, browser = await read_form(request), form_secret(here, request)
        if browser is None or not is_own_form(request, form.one("csrf"), browser):
            return here.pages.error("foreign-form", 403)
        try:
            who = await passkeys.recognize(browser, form.one("credential"))
        except PasskeyRefused:
            next_page = safe_next(form.one("next"))
            return here.pages.page("sign_in_problem.html", status=403, kind="passkey", next_page=next_page)
        return await enter(here, request, who)

    return router


def as_json(text: str) -> Response:
    """Options for the page's script."""
    return Response(text, media_type="application/json", headers=HEADERS)
