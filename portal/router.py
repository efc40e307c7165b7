"""Puts the pages together: one router for the composition root, and the renderer for errors found elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request, Response

from portal.answer_pages import answer_routes
from portal.authorize import authorize_routes
from portal.developer_pages import developer_routes
from portal.emergency_pages import emergency_routes
from portal.end_session import end_session_routes
from portal.explain_pages import explain_routes
from portal.federated_sign_in import federated_routes
from portal.language_choice import language_routes
from portal.mail_pages import mail_routes
from portal.my_record import record_routes
from portal.my_sharing import my_routes
from portal.operator_pages import operator_routes
from portal.pages import Pages
from portal.passkey_pages import passkey_routes
from portal.passkey_sign_in import passkey_sign_in_routes
from portal.ports import Ports
from portal.settings import PortalSettings
from portal.sign_in import sign_in_routes
from portal.static_files import add_static_files
from portal.visit import Portal

_NO_PAGE = (404, 405)
_NO_FORM = (400, 413, 415)


@dataclass(frozen=True, slots=True)
class PortalPages:
    """What the composition root mounts."""

    router: APIRouter
    pages: Pages

    def authorize_error(self, request: Request, detail: str) -> Response:
        """Answer an authorization request that can't be sent back to its app (RFC 6749 §4.1.2.1).

        `detail` is the public description: lowercase, for the app's developer, never a secret.
        """
        return self.pages.seen_by(request).error("authorize", 400, detail=detail)

    def refused(self, request: Request, status: int, headers: Mapping[str, str] | None = None) -> Response:
        """Answer a browser whose request can't be served: no such page (404, 405), or a form that can't be read."""
        kind = "not-found" if status in _NO_PAGE else "unreadable-form" if status in _NO_FORM else "broken"
        response = self.pages.seen_by(request).error(kind, status)
        response.headers.update(headers or {})
        return response


def portal_pages(ports: Ports, settings: PortalSettings, now: Callable[[], datetime]) -> PortalPages:
    """Build the pages. `now` answers the time, aware, in UTC."""
    pages = Pages(settings, ports.languages, now, ports.ways, mails=ports.mail is not None)
    portal = Portal(ports, settings, pages, now)
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def home(request: Request) -> Response:
        here = portal.seen_by(request)
        return here.pages.page("home.html", session=await here.session_of(request))

    pages_of = (
        language_routes,
        sign_in_routes,
        federated_routes,
        passkey_sign_in_routes,
        passkey_routes,
        authorize_routes,
        emergency_routes,
        my_routes,
        answer_routes,
        record_routes,
        mail_routes,
        explain_routes,
        developer_routes,
        operator_routes,
        end_session_routes,
    )
    for group in (routes(portal) for routes in pages_of):
        router.include_router(group)
    add_static_files(router, pages.files)
    return PortalPages(router, pages)


def wants_html(request: Request) -> bool:
    """Tell whether a browser asks, so that errors outside the API are shown as pages."""
    return "text/html" in request.headers.get("accept", "")
