"""Ways to sign in, as the pages see them; `authz` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from authz.sign_in.challenges import Begun, Recognized
from authz.sign_in.passkeys import Passkey
from authz.sign_in.sessions import SignedInSession


class IdentityProvider(Protocol):
    """Signing in elsewhere; `authz.sign_in.federation.Federation` is one."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    async def begin(self, browser: str, begun: Begun) -> str:
        """Return where to send the browser. Raises SignInRefused."""
        ...

    async def finish(self, browser: str, answer: Mapping[str, str]) -> Recognized:
        """Return who came back. Raises SignInRefused."""
        ...

    async def linking(self, browser: str, link: str) -> Begun | None:
        """Return what linking was begun with; None when it is over."""
        ...

    async def link(self, browser: str, link: str, account_id: str) -> bool:
        """Link the account, whose password was right, to who came back; False when that can't be."""
        ...

    async def sign_out_address(self) -> str:
        """Return where somebody signs out there. Raises SignInRefused."""
        ...


class PasskeyBook(Protocol):
    """People's passkeys; `authz.sign_in.passkeys.Passkeys` is one."""

    async def ask(self, browser: str, begun: Begun) -> str:
        """Return the options to sign in with, as JSON."""
        ...

    async def recognize(self, browser: str, response: str) -> Recognized:
        """Return whose passkey answered. Raises PasskeyRefused."""
        ...

    async def offer(self, session: SignedInSession) -> str:
        """Return the options for a new passkey, as JSON."""
        ...

    async def add(self, session: SignedInSession, response: str, name: str) -> None:
        """Keep a new passkey. Raises PasskeyRefused."""
        ...

    async def mine(self, account_id: str) -> Sequence[Passkey]:
        """Return an account's passkeys, oldest first."""
        ...

    async def remove(self, account_id: str, passkey_id: str) -> bool:
        """Remove one of the account's; False when it has none such."""
        ...


@dataclass(frozen=True, slots=True)
class SignInWays:
    """What is offered."""

    passwords: bool = True
    provider: IdentityProvider | None = None
    passkeys: PasskeyBook | None = None
