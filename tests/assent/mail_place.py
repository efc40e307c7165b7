"""People with addresses in a database of their own, and workers that send what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.language_files import load_languages
from assent.mail.transport import Sender, SmtpTransport
from assent.mail.worker import MailWorker, Post
from assent.policy_files import load_catalogue
from authz.mail.notices import Notices
from authz.mail.outbox import Outbox
from authz.mail.tables import mail_address, mail_outbox
from authz.sign_in.accounts import Account, ActsFor, add_account

SITE = "https://share.example"
LANGUAGES = load_languages(load_catalogue())


@dataclass(slots=True)
class MailPlace:
    """Time stands still until a test moves it."""

    engine: AsyncEngine
    port: int
    now: datetime = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    notices: Notices = field(default_factory=lambda: Notices(on=True))

    def clock(self) -> datetime:
        return self.now

    def later(self, wait: timedelta) -> None:
        """Let time pass."""
        self.now += wait

    async def person(
        self, name: str, *patients: str, address: str | None = None, language: str = "en", sharing: bool = True
    ) -> str:
        """Somebody who decides for these patients; their account's id. The first is themselves, if called alike."""
        acts_for = tuple(ActsFor(one, one.title(), own=one == name) for one in patients)
        async with self.engine.begin() as connection:
            who = Account("", name, name.title(), None, "patient", acts_for)
            account = await add_account(connection, who, "-", self.now)
            row = {"user_id": account.id, "language": language, "sharing": sharing}
            await connection.execute(insert(mail_address).values({**row, "address": address or f"{name}@example.org"}))
        return account.id

    async def tell(self, user_id: str, kind: str = "passkey-added") -> None:
        """Write one letter."""
        async with self.engine.begin() as connection:
            await self.notices.to_account(connection, user_id, kind, self.now)  # type: ignore[arg-type]

    async def share(self, patient: str, kind: str = "consent-given", client_id: str = "") -> None:
        """Write letters about sharing."""
        async with self.engine.begin() as connection:
            await self.notices.about_sharing(connection, patient, kind, client_id, self.now)  # type: ignore[arg-type]

    def worker(self, url: str | None = None, username: str | None = None, password: str | None = None) -> MailWorker:
        """One more worker, not started."""
        transport = SmtpTransport(url or f"smtp://127.0.0.1:{self.port}", username, password, step_seconds=1)
        sender, outbox = Sender("no-reply@share.example", SITE), Outbox(self.engine, self.clock)
        return MailWorker(Post(outbox, transport, sender, LANGUAGES, self.clock, self._nothing_ends), idle_seconds=0.01)

    async def deliver_all(self) -> None:
        """Send what is due."""
        worker = self.worker()
        while await worker.deliver() is not None:
            pass

    async def waiting(self) -> Sequence[tuple[str, str, int]]:
        """Kind, recipient and tries of the letters that wait."""
        o = mail_outbox.c
        async with self.engine.connect() as connection:
            rows = await connection.execute(select(o.kind, o.recipient, o.tries).order_by(o.recipient, o.id))
            return [(row.kind, row.recipient, row.tries) for row in rows]

    async def set(self, **values: object) -> None:
        """Change every letter that waits."""
        async with self.engine.begin() as connection:
            await connection.execute(update(mail_outbox).values(**values))

    async def _nothing_ends(self) -> None:
        """No sharing ends here."""
