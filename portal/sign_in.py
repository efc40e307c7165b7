"""Signing in and out.

A wrong username and a wrong password look the same, a lock counts for names that don't exist too, and a new
session never reuses an old cookie. Forms shown before there is a session are bound to a cookie of their own.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime

from fastapi import APIRouter, Request, Response

from authz.sessions import NewSession, TooManyAttempts
from portal.csrf import form_token, is_own_form
from portal.form_reading import Form, read_form
from portal.safe_next import safe_next
from portal.visit import Portal, read_sent, see_other

FORM_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
LONGEST = 256
"""Characters of a username or password; hashing more would be work for nothing."""


def sign_in_routes(portal: Portal) -> APIRouter:
    """`/sign-in` and `/my/sign-out`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    async def show(request: Request) -> Response:
        here = portal.seen_by(request)
        return _page(here, request, next_page=safe_next(request.query_params.get("next")))

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        here = portal.seen_by(request)
        form = await read_form(request)
        if not is_own_form(request, form.one("csrf"), _form_secret(here, request)):
            return here.pages.error("foreign-form", 403)
        return await _sign_in(here, request, form)

    @router.get("/my/sign-out")
    async def ask(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        return see_other("/") if session is None else here.pages.page("sign_out.html", session=session, kept=None)

    @router.post("/my/sign-out")
    async def sign_out(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        await here.ports.sessions.sign_out(sent.session.id_hash)
        response = here.pages.page("signed_out.html")
        here.drop_cookie(response, here.settings.session_cookie_name)
        return response

    return router


async def _sign_in(portal: Portal, request: Request, form: Form) -> Response:
    username, password = form.one("username").strip(), form.one("password")
    next_page = safe_next(form.one("next"))
    if not username or not password:
        return _page(portal, request, next_page=next_page, username=username, problem="empty", status=400)
    if len(username) > LONGEST or len(password) > LONGEST:
        return _page(portal, request, next_page=next_page, problem="wrong", status=403)
    address = request.client.host if request.client is not None else ""
    outcome = await portal.ports.sessions.sign_in(username, password, address)
    if outcome is None:
        return _page(portal, request, next_page=next_page, username=username, problem="wrong", status=403)
    if isinstance(outcome, TooManyAttempts):
        return _locked(portal, request, outcome.until, next_page, username)
    return await _welcome(portal, request, outcome, next_page)


def _locked(portal: Portal, request: Request, until: datetime, next_page: str, username: str) -> Response:
    response = _page(portal, request, next_page=next_page, username=username, problem="locked", until=until, status=429)
    seconds = (until - portal.now()).total_seconds()
    response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response


async def _welcome(portal: Portal, request: Request, begun: NewSession, next_page: str) -> Response:
    before = await portal.session_of(request)
    if before is not None:
        await portal.ports.sessions.sign_out(before.id_hash)
    response = see_other(next_page)
    lifetime = int(portal.ports.sessions.absolute.total_seconds())
    portal.set_cookie(response, portal.settings.session_cookie_name, begun.cookie, lifetime)
    portal.drop_cookie(response, portal.settings.form_cookie_name)
    return response


def _page(
    portal: Portal,
    request: Request,
    *,
    next_page: str,
    username: str = "",
    problem: str | None = None,
    until: datetime | None = None,
    status: int = 200,
) -> Response:
    known = _form_secret(portal, request)
    secret = known or secrets.token_urlsafe(32)
    response = portal.pages.page(
        "sign_in.html",
        status=status,
        csrf=form_token(secret),
        next_page=next_page,
        username=username[:LONGEST],
        problem=problem,
        until=until,
        for_app=next_page.startswith("/authorize/"),
    )
    if known is None:
        portal.set_cookie(response, portal.settings.form_cookie_name, secret)
    return response


def _form_secret(portal: Portal, request: Request) -> str | None:
    cookie = request.cookies.get(portal.settings.form_cookie_name, "")
    return cookie if FORM_SECRET.fullmatch(cookie) else None
