"""An audit record in a real database, with a server's keys: to be filled, tampered with and verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.audit_signing import AuditSigner
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.chain import AuditChain, Link
from fhir.audit.checkpoints import AuditCheckpoints
from fhir.audit.event import AuditRecord
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal, entry_of
from fhir.audit.verification import AuditVerification, Verified
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository

SECRET = b"s" * 40
NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
RECORD = AuditRecord("read", "R", "0", NOW, "req-1", client_id="app", patient="p1", entities=("Observation/o1",))


@dataclass(slots=True)
class AuditPlace:
    """Everything that records, at a moment that a test sets."""

    engine: AsyncEngine
    keys: SigningKeys
    journal: AuditJournal
    repository: Repository
    signer: AuditSigner
    checkpoints: AuditCheckpoints
    now: datetime = NOW

    async def add(self, count: int, patient: str = "p1") -> None:
        """Record so many things, 10 ms apart, and chain them."""
        entries = []
        for _ in range(count):
            self.now += timedelta(milliseconds=10)
            entries.append(entry_of(replace(RECORD, recorded=self.now, patient=patient)))
        await self.journal.append(entries)
        await AuditIndexing(self.journal, self.repository).settle()

    async def verify(self, *, kept: str | None = None, batch: int = 5) -> Verified:
        """What verification finds."""
        verification = AuditVerification(self.engine, schema="assent", signer=self.signer)
        return await verification.run(kept=kept, batch=batch)

    async def adopt(self) -> int:
        """What a server does when it starts."""
        return await AuditChain(schema="assent").adopt(self.engine)

    async def links(self) -> list[Link]:
        """The whole chain."""
        names = ", ".join(Link._fields)
        async with self.engine.connect() as connection:
            rows = await connection.execute(text(f"SELECT {names} FROM assent.audit_chain ORDER BY seq"))  # noqa: S608
            return [Link(*row) for row in rows]

    async def execute(self, statements: str | Sequence[str], **values: Any) -> None:
        """SQL, as somebody who holds the database."""
        async with self.engine.begin() as connection:
            for statement in [statements] if isinstance(statements, str) else statements:
                await connection.execute(text(statement), values)

    async def count(self, table: str) -> int:
        """Rows of a table."""
        async with self.engine.connect() as connection:
            found = await connection.execute(text(f"SELECT count(*) FROM assent.{table}"))  # noqa: S608 - ours
            return int(found.scalar_one())


async def audit_place(engine: AsyncEngine) -> AuditPlace:
    """An empty record, and keys that sign."""

    def clock() -> datetime:
        return place.now

    keys = SigningKeys(engine, SECRET, clock)
    signer = AuditSigner(keys, SECRET)
    place = AuditPlace(
        engine,
        keys,
        AuditJournal(engine, schema="assent"),
        Repository(engine, load_definitions(), schema="assent", clock=clock),
        signer,
        AuditCheckpoints(engine, schema="assent", signer=signer, issuer="https://a.example", clock=clock),
    )
    await keys.start()
    return place
