"""People's e-mail addresses, as the pages see them."""

from __future__ import annotations

from typing import Protocol

from authz.mail.addresses import MailSettings


class MailBook(Protocol):
    """`authz.mail.addresses.MailAddresses` is one."""

    async def of(self, user_id: str) -> MailSettings | None:
        """Return what a person gave and chose; None when they never gave an address."""
        ...

    async def ask(self, user_id: str, address: str, language: str) -> None:
        """Send a code to an address. Raises UnfitAddress, TooManyCodes."""
        ...

    async def confirm(self, user_id: str, code: str) -> bool:
        """Use the address from now on; False when the code doesn't count."""
        ...

    async def remove(self, user_id: str) -> None:
        """Send nothing more."""
        ...

    async def choose(self, user_id: str, *, sharing: bool, language: str) -> None:
        """Tell of changes in sharing or don't, and write in this language."""
        ...
