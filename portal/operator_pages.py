"""`/operator`: apps that wait for review, all apps, and whether the server is well. Operators only."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from authz.authorize.asked_categories import asked_categories
from authz.clients.app_registry import RegisteredApp
from authz.sign_in.sessions import SignedInSession
from portal.listing import asked_name, listing
from portal.visit import Portal, read_sent, see_other, sign_in_first


def operator_routes(portal: Portal) -> APIRouter:
    """The overview, and the two decisions about an app."""
    router = APIRouter(include_in_schema=False)

    @router.get("/operator")
    async def overview(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first("/operator")
        return await _overview(here, request, session) if _may(session) else _nothing(here, session)

    @router.get("/operator/health")
    async def health(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first("/operator/health")
        if not _may(session):
            return _nothing(here, session)
        checks = [check async for check in here.ports.examine()]
        return here.pages.page("health.html", session=session, checks=checks)

    @router.post("/operator/apps/{client_id}/approve")
    async def approve(request: Request, client_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        done = _may(sent.session) and await here.ports.apps.approve(client_id, sent.session)
        return see_other("/operator") if done else _nothing(here, sent.session)

    @router.post("/operator/apps/{client_id}/disable")
    async def disable(request: Request, client_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        done = _may(sent.session) and await here.ports.apps.disable(client_id, sent.session)
        return see_other("/operator") if done else _nothing(here, sent.session)

    return router


def _may(session: SignedInSession) -> bool:
    return session.account.role == "operator"


def _nothing(portal: Portal, session: SignedInSession) -> Response:
    return portal.pages.error("not-found", 404, session=session)


def _names(app: RegisteredApp) -> str:
    return f"{app.client.name} {app.client.client_id}"


async def _overview(portal: Portal, request: Request, session: SignedInSession) -> Response:
    name = asked_name(request.query_params)
    apps = await portal.ports.apps.all(name)
    waiting = [app for app in apps if app.state == "waiting"]
    asked = {app.client.client_id: asked_categories(app.client.scope, portal.ports.catalogue) for app in waiting}
    others = [app for app in apps if app.state != "waiting"]
    return portal.pages.page(
        "operator.html",
        session=session,
        waiting=waiting,
        asked=asked,
        listed=listing(others, _names, request.query_params, "/operator"),
        unreviewed=await portal.ports.emergencies.unreviewed(),
    )
