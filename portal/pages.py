"""Renders a page: template, language, status, and the headers that every page for people carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from datetime import datetime
from functools import partial
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from authz.sign_in.sessions import SignedInSession
from portal import words
from portal.content_policy import content_policy
from portal.csrf import form_token
from portal.languages import Language, Languages
from portal.policy_html import policy_html
from portal.safe_next import page_address
from portal.settings import PortalSettings
from portal.sign_in_ports import SignInWays
from portal.static_files import StaticFile, load_static_files

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Pages:
    """The templates in every language, ready to render in one of them: English until somebody visits."""

    def __init__(
        self,
        settings: PortalSettings,
        languages: Languages,
        now: Callable[[], datetime],
        ways: SignInWays,
        *,
        mails: bool = False,
    ) -> None:
        """`mails`: whether people can be told by e-mail."""
        self.files = load_static_files()
        self.languages = languages
        self.language = languages.english
        self._mails = mails
        self._cookie = settings.language_cookie_name
        self._address = "/"
        self._environments = {
            tag: _environment(language, settings, self.files, now, ways) for tag, language in languages.by_tag.items()
        }

    def seen_by(self, request: Request) -> Pages:
        """The same, in the visitor's language and where they are."""
        visited = copy(self)
        visited.language = self.languages.of(request, self._cookie)
        visited._address = page_address(request)
        return visited

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        session: SignedInSession | None = None,
        redirect_uri: str | None = None,
        address: str | None = None,
        scripts: bool = False,
        **values: object,
    ) -> HTMLResponse:
        """Render a template.

        `redirect_uri` is the app's, where the page's form may lead out of this server; `address`, where the same page
        can be had by a link, if that isn't where the visitor is now: the answer to a form can't be asked for again.
        `scripts`: the page may run ours.
        """
        frame = {
            "session": session,
            "csrf": form_token(session.csrf_secret) if session is not None else "",
            "language": self.language,
            "languages": tuple(self.languages.by_tag.values()),
            "address": address or self._address,
            "mails": self._mails,
        }
        body = self._environments[self.language.tag].get_template(template).render({**frame, **values})
        policy = content_policy(redirect_uri, scripts=scripts)
        headers = {"Content-Language": self.language.tag, "Content-Security-Policy": policy}
        return HTMLResponse(body, status, {**HEADERS, **headers})

    def error(
        self, kind: str, status: int, *, detail: str | None = None, session: SignedInSession | None = None
    ) -> HTMLResponse:
        """Render what went wrong. `kind` is one of error.html's; `detail` is public text for the app's developer."""
        return self.page("error.html", status=status, session=session, kind=kind, detail=detail)


def _environment(
    language: Language,
    settings: PortalSettings,
    files: Mapping[str, StaticFile],
    now: Callable[[], datetime],
    ways: SignInWays,
) -> Environment:
    environment = Environment(
        loader=PackageLoader("portal", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    # `newstyle` escapes what is put into a message, and leaves the message's own markup as it is.
    environment.install_gettext_callables(language.gettext, language.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals |= {
        "stylesheet": files["portal.css"].address,
        "mark": files["mark.svg"].address,
        "passkey_script": files["passkeys.js"].address,
        "ways": ways,
        "sandbox_hint": settings.sandbox_hint,
    }
    environment.filters |= {
        "day": partial(words.day, locale=language.locale),
        "clock": partial(words.clock, locale=language.locale),
        "number": partial(words.number, locale=language.locale),
        "minutes_from_now": lambda moment: words.minutes_until(moment, now()),
        "titles": partial(words.titles, catalogue=language.catalogue),
        "kept": partial(words.kept, catalogue=language.catalogue, rest=language.gettext("%(kind)s (the rest)")),
        "purpose": partial(words.purpose_title, catalogue=language.catalogue),
        "language_name": partial(words.language_name, locale=language.locale),
        "policy_html": policy_html,
        "ticks": words.ticks,
    }
    return environment
