"""The journal: one row a record, on disk before the answer leaves; an AuditEvent a moment later.

An AuditEvent is found by a dozen values in several tables. Writing these before each answer would take longer than
the answer itself, so a record is first journalled, in one statement for all that wait, and becomes an AuditEvent
afterwards (`fhir.audit.indexing`). Its id is chosen here and kept: however often a record is written or moved,
it stands once.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit.event import AuditRecord
from fhir.store.prepared_statement import HeldConnection, PreparedStatement

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_PATIENT: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_decode: Final = msgspec.json.Decoder(AuditRecord).decode
_encode: Final = msgspec.json.Encoder().encode


class Entry(NamedTuple):
    """A record on its way: the id of the AuditEvent to be, whose record it concerns, and the record as JSON."""

    id: uuid.UUID
    patient: str | None
    record: bytes

    def read(self) -> AuditRecord:
        """The record itself."""
        return _decode(self.record)


def entry_of(record: AuditRecord) -> Entry:
    """A new entry. Its id grows with time, so that the journal is read in the order in which it was written."""
    milliseconds, microseconds = divmod((record.recorded - _EPOCH) // _MICROSECOND, 1000)
    # RFC 9562 §5.7 and §6.2 (UUIDv7, method 3): 48 bits of time, version, 12 more of the time's fraction, variant, 62
    # random bits.
    fraction = microseconds * 4096 // 1000
    number = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    patient = record.patient if record.patient and _PATIENT.fullmatch(record.patient) else None
    return Entry(uuid.UUID(int=number), patient, _json(record))


def _json(record: AuditRecord) -> bytes:
    try:
        return _encode(record)
    except UnicodeEncodeError:
        # A query that is no Unicode text is still worth recording; failing here would leave no trace of it.
        query = None if record.query is None else record.query.encode(errors="backslashreplace").decode()
        return _encode(msgspec.structs.replace(record, query=query))


def journal_table(metadata: MetaData) -> Table:
    """`audit_journal`: what isn't an AuditEvent yet. `failed`: it couldn't become one; the next start tries again."""
    table = Table(
        "audit_journal",
        metadata,
        Column("id", Uuid),
        Column("patient", Text, nullable=True),
        Column("record", LargeBinary, nullable=False),
        Column("failed", Boolean, nullable=False, server_default=false()),
        PrimaryKeyConstraint("id", name="pk_audit_journal"),
    )
    Index("ix_audit_journal_patient", table.c.patient, table.c.id)
    return table


class AuditJournal:
    """The table `audit_journal` of one schema."""

    def __init__(self, engine: AsyncEngine, *, schema: str) -> None:
        self.engine: Final = engine
        self.schema: Final = schema
        # One statement is its own transaction: no BEGIN and COMMIT around it.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        table = f'"{schema}".audit_journal'
        self._append = PreparedStatement(
            text(
                f"INSERT INTO {table} (id, patient, record) "  # noqa: S608 - the schema's name is ours
                "SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:patients AS text[]), CAST(:records AS bytea[])) "
                "ON CONFLICT (id) DO NOTHING"
            )
        )
        self._append_one = text(f"INSERT INTO {table} (id, patient, record) VALUES (:id, :patient, :record)")  # noqa: S608 - as above
        waiting = f"SELECT id, patient, record FROM {table} WHERE NOT failed"  # noqa: S608 - the schema's name is ours
        order = " ORDER BY id LIMIT :most FOR UPDATE"
        self._take = text(f"{waiting}{order} SKIP LOCKED")
        self._take_all = text(f"{waiting}{order}")
        self._take_of_patient = text(f"{waiting} AND patient = :patient{order}")
        self._remove = text(f"DELETE FROM {table} WHERE id = ANY(:ids)")  # noqa: S608 - the schema's name is ours
        self._fail = text(f"UPDATE {table} SET failed = true WHERE id = :id")  # noqa: S608 - the schema's name is ours
        self._try_again = text(f"UPDATE {table} SET failed = false WHERE failed")  # noqa: S608 - the schema's name is ours
        self._count = text(f"SELECT count(*), count(*) FILTER (WHERE failed) FROM {table}")  # noqa: S608 - as above

    async def append(self, entries: Sequence[Entry], held: HeldConnection | None = None) -> None:
        """Commit entries; those that are there already stay. Raises what the database raises."""
        ids, patients, records = [e.id for e in entries], [e.patient for e in entries], [e.record for e in entries]
        if held is None:
            await self._append.rows(self.engine, ids=ids, patients=patients, records=records)
        else:
            await self._append.rows_on(held, ids=ids, patients=patients, records=records)

    async def append_in(self, entry: Entry, connection: AsyncConnection) -> None:
        """Make an entry part of a transaction."""
        row = {"id": entry.id, "patient": entry.patient, "record": entry.record}
        await connection.execute(self._append_one, row)

    async def take(
        self, connection: AsyncConnection, most: int, *, patient: str | None = None, wait: bool = False
    ) -> list[Entry]:
        """The oldest entries, locked until the transaction ends; `wait` for those that somebody else is moving."""
        if patient is not None:
            found = await connection.execute(self._take_of_patient, {"most": most, "patient": patient})
        else:
            found = await connection.execute(self._take_all if wait else self._take, {"most": most})
        return [Entry(*row) for row in found]

    async def remove(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Take entries off the journal, with the transaction that makes AuditEvents of them."""
        await connection.execute(self._remove, {"ids": [e.id for e in entries]})

    async def mark_failed(self, entry: Entry) -> None:
        """Leave an entry alone from now on."""
        async with self._single.connect() as connection:
            await connection.execute(self._fail, {"id": entry.id})

    async def try_failed_again(self) -> None:
        """Leave no entry alone any more."""
        async with self._single.connect() as connection:
            await connection.execute(self._try_again)

    async def counts(self) -> tuple[int, int]:
        """How many entries there are, and how many of them failed."""
        async with self._single.connect() as connection:
            waiting, failed = (await connection.execute(self._count)).one()
        return waiting, failed
