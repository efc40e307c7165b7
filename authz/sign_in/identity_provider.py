"""An OpenID Provider at which people sign in, as the operator set it up, and what can go wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ALGORITHMS: Final = ("RS256", "ES256", "PS256")
"""What an ID token may be signed with."""

Problem = Literal[
    "unreachable", "declined", "provider-error", "not-begun", "untrusted", "stale", "no-account", "no-sign-out"
]


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """Its settings."""

    issuer: str
    """Exactly as its metadata and its ID tokens spell it."""
    name: str
    """How the sign-in page calls it."""
    client_id: str
    redirect_uri: str
    scope: str = "openid"
    subject_claim: str = "sub"
    """The claim of the ID token that accounts are linked to."""
    secret: str | None = field(default=None, repr=False)
    private_jwk: Mapping[str, Any] | None = field(default=None, repr=False)
    """In place of a secret: signs client assertions (`private_key_jwt`)."""
    loopback: bool = False
    """Whether it may be asked by plain http on this machine."""


class SignInRefused(Exception):
    """Nobody was signed in. `problem` is for the page, `reason` one word for the operator's log."""

    def __init__(self, problem: Problem, reason: str, *, subject: str | None = None, link: str | None = None) -> None:
        super().__init__(reason)
        self.problem: Problem = problem
        self.reason = reason
        self.next_page = ""
        self.subject = subject
        """Who it was at the provider, for their own eyes, when they have no account here."""
        self.link = link
        """With this and an account's password, that account is linked to them."""
