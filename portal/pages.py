"""Renders a page: template, status, and the headers that every page for people carries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from authz.sessions import SignedInSession
from policies.catalogue import Catalogue
from portal import words
from portal.content_policy import content_policy
from portal.csrf import form_token
from portal.policy_html import policy_html
from portal.settings import PortalSettings
from portal.sign_in_ports import SignInWays
from portal.static_files import load_static_files

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Pages:
    """The templates, ready to render."""

    def __init__(
        self, settings: PortalSettings, catalogue: Catalogue, now: Callable[[], datetime], ways: SignInWays
    ) -> None:
        self.files = load_static_files()
        self._environment = Environment(
            loader=PackageLoader("portal", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "stylesheet": self.files["portal.css"].address,
            "mark": self.files["mark.svg"].address,
            "passkey_script": self.files["passkeys.js"].address,
            "ways": ways,
            "sandbox_hint": settings.sandbox_hint,
        }
        self._environment.filters |= {
            "day": words.day,
            "clock": words.clock,
            "minutes_from_now": lambda moment: words.minutes_until(moment, now()),
            "titles": lambda codes: words.titles(codes, catalogue),
            "purpose": lambda code: words.purpose_title(code, catalogue),
            "policy_html": policy_html,
            "ticks": words.ticks,
        }

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        session: SignedInSession | None = None,
        redirect_uri: str | None = None,
        scripts: bool = False,
        **values: object,
    ) -> HTMLResponse:
        """Render a template. `redirect_uri` is the app's, where the page's form may lead out of this server;
        `scripts`: the page may run ours."""
        signed_in = {"session": session, "csrf": form_token(session.csrf_secret) if session is not None else ""}
        body = self._environment.get_template(template).render({**signed_in, **values})
        return HTMLResponse(
            body, status, {**HEADERS, "Content-Security-Policy": content_policy(redirect_uri, scripts=scripts)}
        )

    def error(
        self, kind: str, status: int, *, detail: str | None = None, session: SignedInSession | None = None
    ) -> HTMLResponse:
        """Render what went wrong. `kind` is one of error.html's; `detail` is public text for the app's developer."""
        return self.page("error.html", status=status, session=session, kind=kind, detail=detail)
