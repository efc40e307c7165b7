"""Signing in at the operator's identity provider: the way there, the way back, and what can go wrong.

The way there is a link and no form: the page's `form-action` would bind the provider's own redirects. A link that
somebody else placed begins a sign-in of whoever follows it, as themselves, and leads to a page of this server only.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from authz.sign_in.challenges import Begun
from authz.sign_in.identity_provider import Problem, SignInRefused
from portal.new_session import enter, form_secret, needed_since, new_form_secret, peer
from portal.safe_next import safe_next
from portal.sign_in_page import SignInPage
from portal.sign_in_ports import IdentityProvider
from portal.visit import Portal, see_other

PATH: Final = "/sign-in/provider"
CALLBACK: Final = f"{PATH}/callback"
SIGN_OUT: Final = f"{PATH}/sign-out"
_STATUS: Final[dict[Problem, int]] = {
    "unreachable": 503,
    "provider-error": 502,
    "untrusted": 502,
    "declined": 403,
    "not-begun": 400,
    "stale": 403,
    "no-account": 403,
    "no-sign-out": 404,
}
_ANSWER: Final = ("state", "code", "iss", "error")


def federated_routes(portal: Portal) -> APIRouter:
    """`/sign-in/provider`, its callback and the way out; none where no provider is set."""
    router = APIRouter(include_in_schema=False)
    provider = portal.ports.ways.provider
    if provider is None:
        return router

    @router.get(PATH)
    async def begin(request: Request) -> Response:
        return await _begin(portal.seen_by(request), provider, request)

    @router.get(CALLBACK)
    async def finish(request: Request) -> Response:
        here = portal.seen_by(request)
        try:
            who = await provider.finish(form_secret(here, request) or "", _answer(request))
        except SignInRefused as refused:
            if refused.link is not None and here.ports.ways.passwords:
                page = SignInPage(safe_next(refused.next_page), link=refused.link, subject=refused.subject)
                return page.response(here, request, _STATUS[refused.problem])
            return _problem(here, refused, refused.next_page)
        return await enter(here, request, who)

    @router.get(SIGN_OUT)
    async def sign_out(request: Request) -> Response:
        try:
            return see_other(await provider.sign_out_address())
        except SignInRefused as refused:
            return _problem(portal.seen_by(request), refused, "")

    return router


async def _begin(portal: Portal, provider: IdentityProvider, request: Request) -> Response:
    next_page = safe_next(request.query_params.get("next"))
    if not await portal.ports.sessions.may_begin(peer(request)):
        return portal.pages.page("sign_in_problem.html", status=429, kind="too-many", next_page=next_page)
    known = form_secret(portal, request)
    browser = known or new_form_secret()
    try:
        there = await provider.begin(browser, Begun(next_page, await needed_since(portal, next_page)))
    except SignInRefused as refused:
        return _problem(portal, refused, next_page)
    response = see_other(there)
    if known is None:
        portal.set_cookie(response, portal.settings.form_cookie_name, browser)
    return response


def _answer(request: Request) -> dict[str, str]:
    """The provider's answer; nothing of it when a parameter stands twice (RFC 6749 §3.1)."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name in _ANSWER]
    found = dict(given)
    return found if len(found) == len(given) else {}


def _problem(portal: Portal, refused: SignInRefused, next_page: str) -> Response:
    return portal.pages.page(
        "sign_in_problem.html",
        status=_STATUS[refused.problem],
        kind=refused.problem,
        subject=refused.subject,
        next_page=next_page,
    )
