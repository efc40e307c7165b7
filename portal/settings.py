"""What differs between one installation's pages and another's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A person of the sandbox whom anybody may sign in as."""

    username: str
    password: str
    role: str
    """One of `authz.sign_in.accounts.ROLES`."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """Settings of the pages."""

    https: bool
    """Whether the public URL is https; false only on loopback."""
    session_cookie: str = "assent_session"
    """Name of the session cookie; under https it gets the prefix `__Host-`."""
    default_duration: str = "year"
    """Code of the duration that is chosen at first."""
    fresh_sign_in: timedelta = timedelta(hours=1)
    """How old a sign-in may be with which somebody adds a passkey."""
    sandbox_hint: tuple[DemoUser, ...] = ()
    """Demo users to show; INVARIANT: empty outside the sandbox."""

    @property
    def session_cookie_name(self) -> str:
        """The name on the wire. RFC 6265bis §4.1.3.2: `__Host-` binds a cookie to this host and https."""
        return f"__Host-{self.session_cookie}" if self.https else self.session_cookie

    @property
    def form_cookie_name(self) -> str:
        """Name of the cookie that a form shown before sign-in is bound to."""
        return "__Host-assent_form" if self.https else "assent_form"

    @property
    def language_cookie_name(self) -> str:
        """Name of the cookie that holds the language somebody chose."""
        return "__Host-assent_language" if self.https else "assent_language"
