"""The link by which a visitor chooses a language. It changes nothing but a cookie, so a link is enough."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from portal.safe_next import safe_next
from portal.visit import Portal, see_other

_LIFETIME: Final = 365 * 24 * 3600


def language_routes(portal: Portal) -> APIRouter:
    """`/language/{tag}`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/language/{tag}")
    async def choose(request: Request, tag: str) -> Response:
        here = portal.seen_by(request)
        if tag not in here.ports.languages.by_tag:
            return here.pages.error("not-found", 404, session=await here.session_of(request))
        response = see_other(safe_next(request.query_params.get("next")))
        here.set_cookie(response, here.settings.language_cookie_name, tag, _LIFETIME)
        return response

    return router
