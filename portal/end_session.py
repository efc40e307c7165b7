"""`/end-session`: an app asks that its user be signed out here too (OpenID Connect RP-Initiated Logout 1.0).

When the app proves whom it means, by an ID token of the person who is signed in, they are signed out at once; else
they are asked. Where they go afterwards is an address that the app registered for this, or a page of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from authz.form_parameters import read_form as read_parameters
from authz.form_parameters import read_query
from authz.oauth_errors import OAuthError
from authz.sign_in.end_session import Ending
from authz.sign_in.sessions import SignedInSession
from portal.form_reading import Form
from portal.visit import Portal, read_sent, see_other

PATH = "/end-session"
_KEPT = ("client_id", "post_logout_redirect_uri", "state")
"""What the form of the question brings back, to be checked again."""


def end_session_routes(portal: Portal) -> APIRouter:
    """The endpoint, and the form of its question."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    @router.post(PATH)
    async def ask(request: Request) -> Response:
        here = portal.seen_by(request)
        try:
            query = request.scope["query_string"]
            given = read_query(query) if request.method == "GET" else await read_parameters(request)
            ending = await here.ports.ending(given)
        except OAuthError as error:
            return here.pages.error("authorize", 400, detail=error.description)
        session = await here.session_of(request)
        if session is None:
            return _ended(here, ending)
        if session.account.id == ending.subject:
            return await _sign_out(here, session, ending)
        client_id = given.get("client_id") or ending.client_id
        kept = {**given, **({} if client_id is None else {"client_id": client_id})}
        brought_back = [(name, kept[name]) for name in _KEPT if name in kept]
        return here.pages.page("sign_out.html", session=session, redirect_uri=ending.return_to, kept=brought_back)

    @router.post(f"{PATH}/confirm")
    async def confirm(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        try:
            ending = await here.ports.ending(_kept(sent.form))
        except OAuthError as error:
            return here.pages.error("authorize", 400, detail=error.description, session=sent.session)
        return await _sign_out(here, sent.session, ending)

    return router


def _kept(form: Form) -> Mapping[str, str]:
    return {name: form.one(name) for name in _KEPT if form.one(name)}


async def _sign_out(portal: Portal, session: SignedInSession, ending: Ending) -> Response:
    await portal.ports.sessions.sign_out(session.id_hash)
    response = _ended(portal, ending)
    portal.drop_cookie(response, portal.settings.session_cookie_name)
    return response


def _ended(portal: Portal, ending: Ending) -> Response:
    return portal.pages.page("signed_out.html") if ending.return_to is None else see_other(ending.return_to)
