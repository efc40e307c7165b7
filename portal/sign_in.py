"""Signing in with a password, and signing out.

A wrong username and a wrong password look the same, and a lock counts for names that don't exist too. Forms shown
before there is a session are bound to a cookie of their own. A password that is right also links the account to who
somebody just was at the identity provider, when the form says so.
"""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from authz.sign_in.sessions import NewSession, TooManyAttempts
from portal.csrf import is_own_form
from portal.form_reading import Form, read_form
from portal.new_session import form_secret, peer, welcome
from portal.safe_next import safe_next
from portal.sign_in_page import LONGEST, SignInPage
from portal.visit import Portal, read_sent, see_other


def sign_in_routes(portal: Portal) -> APIRouter:
    """`/sign-in` and `/my/sign-out`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    async def show(request: Request) -> Response:
        return SignInPage(safe_next(request.query_params.get("next"))).response(portal.seen_by(request), request)

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

    if portal.ports.ways.passwords:

        @router.post("/sign-in")
        async def sign_in(request: Request) -> Response:
            here = portal.seen_by(request)
            form, browser = await read_form(request), form_secret(here, request)
            if browser is None or not is_own_form(request, form.one("csrf"), browser):
                return here.pages.error("foreign-form", 403)
            page = await _page_of(here, form, browser)
            if page is None:
                next_page = safe_next(form.one("next"))
                return here.pages.page("sign_in_problem.html", status=403, kind="not-begun", next_page=next_page)
            return await _sign_in(here, request, form, browser, page)

    return router


async def _page_of(portal: Portal, form: Form, browser: str) -> SignInPage | None:
    """The page from which the form came; None when it was to link somebody and that is over."""
    page, link, provider = SignInPage(safe_next(form.one("next"))), form.one("link"), portal.ports.ways.provider
    if not link:
        return page
    begun = None if provider is None else await provider.linking(browser, link)
    return None if begun is None else replace(page, link=link, subject=begun.subject)


async def _sign_in(portal: Portal, request: Request, form: Form, browser: str, page: SignInPage) -> Response:
    username, password = form.one("username").strip(), form.one("password")
    shown = replace(page, username=username)
    if not username or not password:
        return replace(shown, problem="empty").response(portal, request, 400)
    if len(username) > LONGEST or len(password) > LONGEST:
        return replace(page, problem="wrong").response(portal, request, 403)
    outcome = await portal.ports.sessions.sign_in(username, password, peer(request))
    if outcome is None:
        return replace(shown, problem="wrong").response(portal, request, 403)
    if isinstance(outcome, TooManyAttempts):
        response = replace(shown, problem="locked", until=outcome.until).response(portal, request, 429)
        response.headers["Retry-After"] = str(max(1, round((outcome.until - portal.now()).total_seconds())))
        return response
    if page.link and not await _linked(portal, browser, page.link, outcome):
        return portal.pages.page("sign_in_problem.html", status=409, kind="linked-already", next_page=page.next_page)
    return await welcome(portal, request, outcome, page.next_page)


async def _linked(portal: Portal, browser: str, link: str, begun: NewSession) -> bool:
    provider = portal.ports.ways.provider
    if provider is not None and await provider.link(browser, link, begun.session.account.id):
        return True
    await portal.ports.sessions.sign_out(begun.session.id_hash)
    return False
