"""What every way of signing in begins and ends with: the browser's secret, how fresh it must be, the new session."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response

from authz.sign_in.challenges import Recognized
from authz.sign_in.sessions import NewSession
from portal.visit import Portal, see_other

FORM_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
AUTHORIZE: Final = "/authorize/continue"
PASSKEYS: Final = "/my/passkeys"


def form_secret(portal: Portal, request: Request) -> str | None:
    """The secret of a browser in which nobody needs to be signed in."""
    cookie = request.cookies.get(portal.settings.form_cookie_name, "")
    return cookie if FORM_SECRET.fullmatch(cookie) else None


def new_form_secret() -> str:
    """A secret for a browser that has none."""
    return secrets.token_urlsafe(32)


def peer(request: Request) -> str:
    """The address of who asks, for counting attempts."""
    return request.client.host if request.client is not None else ""


async def needed_since(portal: Portal, next_page: str) -> datetime:
    """A sign-in before this isn't enough for the page to which it leads."""
    now, parts = portal.now(), urlsplit(next_page)
    if parts.path == AUTHORIZE:
        handles = parse_qs(parts.query).get("request", [])
        asked = await portal.ports.requests.find(handles[0], None) if len(handles) == 1 else None
        # A request that somebody opened already is nobody else's to look at; a sign-in now is enough for any.
        return now if asked is None else asked.signed_in_since or now - portal.settings.fresh_sign_in
    age = portal.settings.fresh_sign_in if parts.path == PASSKEYS else portal.ports.sessions.absolute
    return now - age


async def enter(portal: Portal, request: Request, who: Recognized) -> Response:
    """Begin the session of somebody recognized."""
    begun = await portal.ports.sessions.begin(who.account_id, who.auth_time, who.methods)
    if begun is None:
        return portal.pages.error("broken", 500)
    return await welcome(portal, request, begun, who.next_page)


async def welcome(portal: Portal, request: Request, begun: NewSession, next_page: str) -> Response:
    """Give the browser its session, which never reuses an old cookie, and lead on."""
    before = await portal.session_of(request)
    if before is not None:
        await portal.ports.sessions.sign_out(before.id_hash)
    response = see_other(next_page)
    lifetime = int(portal.ports.sessions.absolute.total_seconds())
    portal.set_cookie(response, portal.settings.session_cookie_name, begun.cookie, lifetime)
    portal.drop_cookie(response, portal.settings.form_cookie_name)
    return response
