"""Letters that wait to be sent: one process takes one at a time, tries again later and later, and gives up at last.

At least once: a letter is taken for a while and then free again, so what a killed process held is sent by another. Who
takes one has it alone for longer than a delivery may last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz.clients.clients import find_client
from authz.mail.addresses import new_code
from authz.mail.notices import MOST_WAITING, Kind
from authz.mail.tables import mail_ending_told, mail_outbox

MOST_TRIES: Final = 10
HELD: Final = timedelta(minutes=5)
"""How long a letter is one process's. INVARIANT: longer than a delivery may take (assent.mail.transport)."""
_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(hours=6)
_STALE: Final = timedelta(days=2)
"""A letter older than this is of no use any more."""

Outcome = Literal["sent", "put-off", "given-up"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """One that was taken."""

    id: int
    tries: int
    """This one included."""
    kind: Kind
    recipient: str
    language: str
    app_name: str
    """As the app is registered; empty when it is about none."""
    own: bool
    """Whether it is about the reader's own record."""
    code: str
    """Confirms the address; only in a letter of kind `confirm-address`. It is stored nowhere."""


class Outbox:
    """Takes letters out of the table."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self.outcomes: Counter[Outcome] = Counter()
        """What became of letters in this process."""
        self.waiting = 0
        """Letters in the table, of all processes, when it was last tidied."""

    async def take(self) -> Letter | None:
        """The letter that is due longest, held for HELD; None when none is due."""
        now, o = self._clock(), mail_outbox
        due = select(o).where(o.c.next_try_at <= now).order_by(o.c.next_try_at, o.c.id).limit(1)
        while True:
            async with self._engine.begin() as connection:
                row = (await connection.execute(due.with_for_update(skip_locked=True))).first()
                if row is None:
                    return None
                letter = await self._letter(connection, row, now)
                if letter is not None:
                    held = {"tries": letter.tries, "next_try_at": now + HELD}
                    await connection.execute(update(o).where(o.c.id == row.id).values(held))
                    return letter
                await connection.execute(delete(o).where(o.c.id == row.id))

    async def sent(self, letter: Letter) -> None:
        """It was handed over."""
        self.outcomes["sent"] += 1
        await self._take_out(letter)

    async def failed(self, letter: Letter, *, for_good: bool) -> None:
        """It wasn't; `for_good` when trying again can't help."""
        if for_good or letter.tries >= MOST_TRIES:
            _log.warning("mail_given_up", kind=letter.kind, tries=letter.tries)
            self.outcomes["given-up"] += 1
            await self._take_out(letter)
            return
        self.outcomes["put-off"] += 1
        again = self._clock() + wait_after(letter.tries)
        async with self._engine.begin() as connection:
            await connection.execute(update(mail_outbox).where(*_still(letter)).values(next_try_at=again))

    async def tidy(self) -> None:
        """Take out what nobody needs to read any more."""
        now, o, told = self._clock(), mail_outbox.c, mail_ending_told.c
        async with self._engine.begin() as connection:
            old = await connection.execute(delete(mail_outbox).where(o.created_at < now - _STALE))
            await connection.execute(delete(mail_ending_told).where(told.ends_at < now - _STALE))
            self.waiting = await connection.scalar(select(func.count()).select_from(mail_outbox)) or 0
        if old.rowcount:
            _log.warning("mail_given_up", letters=old.rowcount)
            self.outcomes["given-up"] += old.rowcount
        if self.waiting >= MOST_WAITING // 2:
            _log.warning("mail_waits", letters=self.waiting, most=MOST_WAITING)

    async def _take_out(self, letter: Letter) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(delete(mail_outbox).where(*_still(letter)))

    async def _letter(self, connection: AsyncConnection, row: Any, now: datetime) -> Letter | None:
        """The letter of a row; None when it isn't to be sent."""
        if row.tries >= MOST_TRIES or row.created_at < now - _STALE:
            _log.warning("mail_given_up", kind=row.kind, tries=row.tries)
            self.outcomes["given-up"] += 1
            return None
        code = ""
        if row.kind == "confirm-address":
            made = await new_code(connection, row.user_id, row.recipient, now)
            if made is None:  # another address was given since
                return None
            code = made
        client = await find_client(connection, row.client_id) if row.client_id else None
        name = "" if client is None else client.name
        kind = cast(Kind, row.kind)
        return Letter(row.id, row.tries + 1, kind, row.recipient, row.language, name, row.own, code)


def wait_after(tries: int) -> timedelta:
    """How long to wait after so many tries: twice as long each time, up to a bound."""
    return min(_FIRST_WAIT * float(2 ** (tries - 1)), _LONGEST_WAIT)


def _still(letter: Letter) -> tuple[Any, ...]:
    """The row as this process took it: who held it for too long changes nothing that another took since."""
    return (mail_outbox.c.id == letter.id, mail_outbox.c.tries == letter.tries)
