"""People's e-mail addresses: given, confirmed with a code that was sent there, changed, removed.

An address is used once it is confirmed. It is for letters only: nobody signs in, or gets back into an account, with it.
The code is made when its letter is sent, counts once and for half an hour, and is kept as a hash.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz.mail.notices import Notices
from authz.mail.tables import mail_address, mail_outbox
from authz.opaque_secret import hash_of, is_secret

CODE_LIFETIME: Final = timedelta(minutes=30)
MOST_TRIES: Final = 5
"""Wrong codes before a new one is needed."""
MOST_CODES: Final = 5
"""Codes that one person can ask for within CODES_WITHIN: nobody's mailbox is to be filled from here."""
CODES_WITHIN: Final = timedelta(days=1)
LONGEST: Final = 254
"""RFC 5321 §4.5.3.1.3, without the angle brackets."""
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Five bits a character; none that is taken for another."""
_CODE_LENGTH: Final = 12
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(
    rf"(?!\.)(?!.*\.\.)[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]{{1,64}}(?<!\.)@(?:{_LABEL}\.)+{_LABEL}", re.ASCII
)
"""RFC 5321 §4.1.2 without quoted names and address literals: what people have. INVARIANT: no space, no line end."""


class UnfitAddress(ValueError):
    """Not an address that a letter can be sent to."""


class TooManyCodes(Exception):
    """This person asked for as many codes as a day allows."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """What a person gave and chose."""

    address: str | None
    """Confirmed."""
    pending: str | None
    """Waits for its code."""
    sharing: bool
    """Whether changes in sharing are told."""
    language: str
    """BCP 47."""


class MailAddresses:
    """The use cases behind `/my/e-mail`."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime], notices: Notices) -> None:
        self._engine = engine
        self._clock = clock
        self._notices = notices

    async def of(self, user_id: str) -> MailSettings | None:
        """What a person gave; None when they gave nothing."""
        a = mail_address.c
        async with self._engine.connect() as connection:
            found = select(a.address, a.pending, a.sharing, a.language).where(a.user_id == user_id)
            row = (await connection.execute(found)).first()
        return None if row is None else MailSettings(*row)

    async def ask(self, user_id: str, address: str, language: str) -> None:
        """Send a code to an address. Raises UnfitAddress, TooManyCodes."""
        async with self._engine.begin() as connection:
            await ask_address(connection, self._notices, user_id, address, language, self._clock())

    async def confirm(self, user_id: str, code: str) -> bool:
        """Use the address from now on; False when the code isn't right, or its time is over."""
        now, mine = self._clock(), mail_address.c.user_id == user_id
        async with self._engine.begin() as connection:
            row = (await connection.execute(select(mail_address).where(mine).with_for_update())).first()
            if row is None or not _counts(row, now):
                return False
            if not is_secret(read_code(code), row.code_hash):
                await connection.execute(update(mail_address).where(mine).values(code_tries=row.code_tries + 1))
                return False
            if row.address is not None and row.address != row.pending:
                await self._notices.to_account(connection, user_id, "address-changed", now, row.address)
            used = {"address": row.pending, "pending": None, "code_hash": None, "code_until": None}
            await connection.execute(update(mail_address).where(mine).values(used))
        return True

    async def remove(self, user_id: str) -> None:
        """Send nothing more, except to tell the address itself."""
        now, a, o = self._clock(), mail_address, mail_outbox.c
        async with self._engine.begin() as connection:
            row = (await connection.execute(select(a).where(a.c.user_id == user_id).with_for_update())).first()
            if row is None:
                return
            await connection.execute(delete(mail_outbox).where(o.user_id == user_id, o.kind.not_in(_TELL_THE_OLD)))
            if row.address is not None:
                await self._notices.to_account(connection, user_id, "address-removed", now, row.address)
            # The row stays, with what was chosen and how many codes were asked for.
            gone = {"address": None, "pending": None, "code_hash": None, "code_until": None}
            await connection.execute(update(a).where(a.c.user_id == user_id).values(gone))

    async def choose(self, user_id: str, *, sharing: bool, language: str) -> None:
        """Tell of changes in sharing or don't, and write in this language."""
        mine = update(mail_address).where(mail_address.c.user_id == user_id)
        async with self._engine.begin() as connection:
            await connection.execute(mine.values(sharing=sharing, language=language))


_TELL_THE_OLD: Final = ("address-changed", "address-removed")


async def ask_address(
    connection: AsyncConnection, notices: Notices, user_id: str, address: str, language: str, now: datetime
) -> None:
    """Note an address, and write the letter with its code. Raises UnfitAddress, TooManyCodes."""
    given = checked_address(address)
    new = insert(mail_address).values(user_id=user_id, language=language).on_conflict_do_nothing()
    await connection.execute(new)
    mine = mail_address.c.user_id == user_id
    row = (await connection.execute(select(mail_address).where(mine).with_for_update())).one()
    recent = row.asked_since is not None and row.asked_since > now - CODES_WITHIN
    if recent and row.asked >= MOST_CODES:
        raise TooManyCodes
    asked = {"asked": row.asked + 1} if recent else {"asked": 1, "asked_since": now}
    values = {"pending": given, "language": language, "code_hash": None, "code_until": None, **asked}
    await connection.execute(update(mail_address).where(mine).values(values))
    await notices.to_account(connection, user_id, "confirm-address", now, given)


async def put_address(connection: AsyncConnection, user_id: str, address: str, language: str) -> None:
    """Use an address without a code, unless the person gave one: for people who are made up."""
    row = {"user_id": user_id, "address": checked_address(address), "language": language}
    await connection.execute(insert(mail_address).values(row).on_conflict_do_nothing())


async def new_code(connection: AsyncConnection, user_id: str, address: str, now: datetime) -> str | None:
    """Make the code for a letter to this address; earlier ones count no more. None when it doesn't wait for one."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    values = {"code_hash": hash_of(code), "code_until": now + CODE_LIFETIME, "code_tries": 0}
    waits = (mail_address.c.user_id == user_id, mail_address.c.pending == address)
    made = await connection.execute(update(mail_address).where(*waits).values(values))
    return "-".join(code[at : at + 4] for at in range(0, _CODE_LENGTH, 4)) if made.rowcount else None


def checked_address(text: str) -> str:
    """The address. Raises UnfitAddress."""
    address = text.strip()
    if len(address) > LONGEST or _ADDRESS.fullmatch(address) is None:
        raise UnfitAddress("an e-mail address is like `ana@example.org`, in letters without accents")
    return address


def read_code(text: str) -> str:
    """A code as it was made, however it was typed."""
    return re.sub(r"[\s-]", "", text).upper()[: _CODE_LENGTH + 1]


def _counts(row: Any, now: datetime) -> bool:
    """Whether a code can be given now."""
    return (
        row.pending is not None and row.code_hash is not None and row.code_until > now and row.code_tries < MOST_TRIES
    )
