"""`/developer`: a developer's own apps. To anybody but developers and operators the pages aren't there."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from authz.clients.clients import ClientError
from authz.sign_in.sessions import SignedInSession
from portal.app_form import AppForm, new_client_of, read_app_form
from portal.visit import Portal, Sent, read_sent, see_other, sign_in_first

_ROLES = ("developer", "operator")


def developer_routes(portal: Portal) -> APIRouter:
    """The list, the form, and what can be done with an app."""
    router = APIRouter(include_in_schema=False)

    @router.get("/developer")
    async def apps(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await _developer(here, request, "/developer")
        return session if isinstance(session, Response) else await _list(here, session)

    @router.get("/developer/register")
    async def form(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await _developer(here, request, "/developer/register")
        return session if isinstance(session, Response) else _form(here, session, AppForm())

    @router.post("/developer/register")
    async def register(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await _sent(here, request)
        return sent if isinstance(sent, Response) else await _register(here, sent)

    @router.post("/developer/apps/{client_id}/secret")
    async def secret(request: Request, client_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await _sent(here, request)
        return sent if isinstance(sent, Response) else await _new_secret(here, sent, client_id)

    @router.post("/developer/apps/{client_id}/disable")
    async def disable(request: Request, client_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await _sent(here, request)
        if isinstance(sent, Response):
            return sent
        mine = any(app.client.client_id == client_id for app in await here.ports.apps.mine(sent.session))
        if not mine or not await here.ports.apps.disable(client_id, sent.session):
            return here.pages.error("not-found", 404, session=sent.session)
        return see_other("/developer")

    return router


async def _developer(portal: Portal, request: Request, address: str) -> SignedInSession | Response:
    session = await portal.session_of(request)
    if session is None:
        return sign_in_first(address)
    return session if session.account.role in _ROLES else portal.pages.error("not-found", 404, session=session)


async def _sent(portal: Portal, request: Request) -> Sent | Response:
    sent = await read_sent(portal, request)
    if isinstance(sent, Response) or sent.session.account.role in _ROLES:
        return sent
    return portal.pages.error("not-found", 404, session=sent.session)


async def _list(portal: Portal, session: SignedInSession) -> Response:
    return portal.pages.page("developer.html", session=session, apps=await portal.ports.apps.mine(session))


def _form(portal: Portal, session: SignedInSession, filled: AppForm, problem: str | None = None) -> Response:
    return portal.pages.page(
        "register_app.html",
        status=200 if problem is None else 400,
        session=session,
        filled=filled,
        purposes=portal.pages.language.catalogue.askable,
        problem=problem,
    )


async def _register(portal: Portal, sent: Sent) -> Response:
    filled = read_app_form(sent.form)
    try:
        new = new_client_of(filled, portal.ports.catalogue)
        client, secret = await portal.ports.apps.register(new, sent.session)
    except ClientError as refused:
        return _form(portal, sent.session, filled, str(refused))
    return portal.pages.page(
        "app_credentials.html",
        session=sent.session,
        client=client,
        secret=secret,
        registered=True,
    )


async def _new_secret(portal: Portal, sent: Sent, client_id: str) -> Response:
    secret = await portal.ports.apps.new_secret(client_id, sent.session)
    app = next((a for a in await portal.ports.apps.mine(sent.session) if a.client.client_id == client_id), None)
    if secret is None or app is None:
        return portal.pages.error("not-found", 404, session=sent.session)
    return portal.pages.page(
        "app_credentials.html",
        session=sent.session,
        client=app.client,
        secret=secret,
        registered=False,
    )
