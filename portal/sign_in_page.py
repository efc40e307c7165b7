"""The page of `/sign-in`, which is also where somebody links their account to who they are at the identity provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import Request, Response

from portal.csrf import form_token
from portal.new_session import form_secret, new_form_secret
from portal.visit import Portal

LONGEST: Final = 256
"""Characters of a username or password; hashing more would be work for nothing."""


@dataclass(frozen=True, slots=True)
class SignInPage:
    """What it shows."""

    next_page: str
    username: str = ""
    problem: str | None = None
    until: datetime | None = None
    link: str = ""
    """What linking was begun with; empty where nobody is linked."""
    subject: str | None = None
    """Who is to be linked, as the identity provider names them."""

    def response(self, portal: Portal, request: Request, status: int = 200) -> Response:
        """The page, and the cookie to which its forms are bound."""
        known = form_secret(portal, request)
        secret = known or new_form_secret()
        response = portal.pages.page(
            "sign_in.html",
            status=status,
            csrf=form_token(secret),
            next_page=self.next_page,
            username=self.username[:LONGEST],
            problem=self.problem,
            until=self.until,
            link=self.link,
            subject=self.subject,
            for_app=self.next_page.startswith("/authorize/"),
            scripts=portal.ports.ways.passkeys is not None and not self.link,
        )
        if known is None:
            portal.set_cookie(response, portal.settings.form_cookie_name, secret)
        return response
