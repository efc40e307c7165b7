"""What every page is made with, and who is visiting: the session cookie, read and set in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from fhir.consents.writing import PolicyText
from portal.csrf import is_own_form
from portal.form_reading import Form, read_form
from portal.pages import HEADERS, Pages
from portal.ports import Ports
from portal.settings import PortalSettings

LONGEST_COOKIE = 512
CONTINUE = "/authorize/continue"


@dataclass(frozen=True, slots=True)
class Portal:
    """Ports, settings, templates and clock, handed to every group of pages."""

    ports: Ports
    settings: PortalSettings
    pages: Pages
    now: Callable[[], datetime]

    def seen_by(self, request: Request) -> Portal:
        """The same, with pages in the visitor's language."""
        return replace(self, pages=self.pages.seen_by(request))

    async def session_of(self, request: Request) -> SignedInSession | None:
        """Return the visitor's session."""
        cookie = request.cookies.get(self.settings.session_cookie_name, "")
        if not cookie or len(cookie) > LONGEST_COOKIE:
            return None
        return await self.ports.sessions.current(cookie)

    def set_cookie(self, response: Response, name: str, value: str, lifetime: int | None = None) -> None:
        """Set a cookie that scripts can't read and other sites' forms don't send."""
        response.set_cookie(
            name, value, max_age=lifetime, path="/", secure=self.settings.https, httponly=True, samesite="lax"
        )

    def drop_cookie(self, response: Response, name: str) -> None:
        """Remove a cookie."""
        response.delete_cookie(name, path="/", secure=self.settings.https, httponly=True, samesite="lax")


@dataclass(frozen=True, slots=True)
class Sent:
    """A form sent by somebody signed in, from a page that we gave them."""

    session: SignedInSession
    form: Form


def acting_for(session: SignedInSession, patient_id: str) -> ActsFor | None:
    """Return the patient if the signed-in person may decide for them."""
    return next((patient for patient in session.account.acts_for if patient.patient_id == patient_id), None)


async def read_sent(portal: Portal, request: Request) -> Sent | Response:
    """Read a form; the answer to send instead when nobody is signed in or it isn't ours."""
    form = await read_form(request)
    session = await portal.session_of(request)
    if session is None:
        return portal.pages.error("signed-out", 403)
    if not is_own_form(request, form.one("csrf"), session.csrf_secret):
        return portal.pages.error("foreign-form", 403, session=session)
    return Sent(session, form)


def address_of(handle: str) -> str:
    """Where an authorization request goes on."""
    return f"{CONTINUE}?request={quote(handle, safe='')}"


def see_other(address: str) -> RedirectResponse:
    """Send the browser on with GET (RFC 9110 §15.4.4), so that a form isn't sent again."""
    return RedirectResponse(address, 303, HEADERS)


def sign_in_first(address: str) -> RedirectResponse:
    """Send the browser to sign in, and back to `address` afterwards."""
    return see_other(f"/sign-in?next={quote(address, safe='')}")


def shown_policy(portal: Portal, form: Form) -> PolicyText:
    """The text that stood in a form, whatever was answered; the visitor's when the form names none that is shown."""
    return portal.ports.languages.texts.get(form.one("policy"), portal.pages.language.policy)
