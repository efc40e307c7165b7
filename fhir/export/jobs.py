"""Export jobs as they stand in the database, so that any process answers for them and none forgets them.

A job is found by the hash of a random id, for the client that began it. What the upstream said of it (URLs that may
open files by themselves) is sealed. A job that was cancelled or failed stays as a tombstone until it expires: it counts
for how often a client may begin.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Boolean, Column, DateTime, Index, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

LIFETIME: Final = timedelta(hours=24)
MOST_OPEN: Final = 3
"""Jobs of one client that are under way."""
MOST_AN_HOUR: Final = 20
"""Jobs that one client begins within an hour."""
MOST_OF_ALL: Final = 50
"""Jobs of all clients that are under way."""
_HOUR: Final = timedelta(hours=1)
_LOCK: Final = 0x6578706F7274
"""Key of the advisory lock under which jobs are counted and begun: the ASCII bytes of `export`."""
_NONCE: Final = 12
_CONTEXT: Final = b"assent export job 1"


class UpstreamFile(msgspec.Struct, frozen=True):
    """One file of the upstream's manifest."""

    type: str
    url: str


class Finished(msgspec.Struct, frozen=True):
    """What the upstream's manifest says, as far as it counts here."""

    transaction_time: str
    """A FHIR instant."""
    files: tuple[UpstreamFile, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A job that isn't cancelled and not expired."""

    id: str
    """As it stands in URLs."""
    request: str
    """The URL with which the client began it."""
    types: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    status_url: str
    """The upstream's."""
    finished: Finished | None
    failed: bool


class TooManyJobs(Exception):
    """The client, or all together, have as many jobs as there may be. `seconds`: when it is worth asking again."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds: Final = seconds


def export_job_table(metadata: MetaData) -> Table:
    """`export_job`."""
    table = Table(
        "export_job",
        metadata,
        Column("id_hash", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        Column("request", Text, nullable=False),
        Column("types", ARRAY(Text), nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Column("status_url", LargeBinary, nullable=True),
        Column("finished", LargeBinary, nullable=True),
        Column("failed", Boolean, nullable=False, server_default="false"),
        Column("cancelled", Boolean, nullable=False, server_default="false"),
        PrimaryKeyConstraint("id_hash", name="pk_export_job"),
    )
    Index("ix_export_job_client_id", table.c.client_id, table.c.created_at)
    Index("ix_export_job_expires_at", table.c.expires_at)
    return table


class ExportJobs:
    """The table `export_job` of one schema."""

    def __init__(self, engine: AsyncEngine, *, schema: str, secret: bytes) -> None:
        self._engine = engine
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=_CONTEXT).derive(secret))
        table = f'"{schema}".export_job'
        one = "WHERE id_hash = :id_hash AND client_id = :client_id AND NOT cancelled AND expires_at > :now"
        self._expire = text(f"DELETE FROM {table} WHERE expires_at <= :now")  # noqa: S608 - the schema's name is ours
        under_way = "NOT failed AND NOT cancelled AND finished IS NULL"
        own = "client_id = :client_id"
        counts = f"count(*) FILTER (WHERE {under_way}), count(*) FILTER (WHERE {under_way} AND {own})"
        counts += f", count(*) FILTER (WHERE {own} AND created_at > :hour_ago)"
        self._count = text(f"SELECT {counts} FROM {table}")  # noqa: S608 - as above
        self._insert = text(
            f"INSERT INTO {table} (id_hash, client_id, request, types, created_at, expires_at)"  # noqa: S608 - as above
            " VALUES (:id_hash, :client_id, :request, :types, :now, :expires_at)"
        )
        self._find = text(f"SELECT * FROM {table} {one}")  # noqa: S608 - as above
        self._started = text(f"UPDATE {table} SET status_url = :sealed {one}")  # noqa: S608 - as above
        self._finish = text(f"UPDATE {table} SET finished = coalesce(finished, :sealed) {one}")  # noqa: S608 - as above
        self._fail = text(f"UPDATE {table} SET failed = true {one}")  # noqa: S608 - as above
        self._cancel = text(f"UPDATE {table} SET cancelled = true {one}")  # noqa: S608 - as above

    async def begin(self, client_id: str, request: str, types: Sequence[str], now: datetime) -> str:
        """The id of a new job, of which the upstream knows nothing yet. Raises TooManyJobs."""
        job_id = secrets.token_urlsafe(32)
        async with self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            await connection.execute(self._expire, {"now": now})
            counted = {"client_id": client_id, "hour_ago": now - _HOUR}
            everybodys, own, lately = (await connection.execute(self._count, counted)).one()
            if own >= MOST_OPEN or everybodys >= MOST_OF_ALL:
                raise TooManyJobs(60)
            if lately >= MOST_AN_HOUR:
                raise TooManyJobs(600)
            row = {"request": request, "types": [*types], "expires_at": now + LIFETIME}
            await connection.execute(self._insert, {**_key(job_id, client_id, now), **row})
        return job_id

    async def started(self, job_id: str, client_id: str, status_url: str, now: datetime) -> None:
        """The upstream is at work, and says there how far it is."""
        await self._update(self._started, job_id, client_id, now, self._sealed(status_url.encode(), job_id))

    async def finish(self, job_id: str, client_id: str, finished: Finished, now: datetime) -> None:
        """The upstream is done. What it said first counts."""
        sealed = self._sealed(msgspec.json.encode(finished), job_id)
        await self._update(self._finish, job_id, client_id, now, sealed)

    async def fail(self, job_id: str, client_id: str, now: datetime) -> None:
        """The upstream gave up."""
        await self._update(self._fail, job_id, client_id, now)

    async def cancel(self, job_id: str, client_id: str, now: datetime) -> None:
        """The client wants it no more."""
        await self._update(self._cancel, job_id, client_id, now)

    async def find(self, job_id: str, client_id: str, now: datetime) -> Job | None:
        """The job; None for one that is another client's, cancelled, expired or not there."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(self._find, _key(job_id, client_id, now))).one_or_none()
        if row is None:
            return None
        return Job(
            job_id,
            row.request,
            tuple(row.types),
            row.created_at,
            row.expires_at,
            "" if row.status_url is None else self._opened(row.status_url, job_id).decode(),
            None if row.finished is None else msgspec.json.decode(self._opened(row.finished, job_id), type=Finished),
            row.failed,
        )

    async def _update(self, statement: Any, job_id: str, client_id: str, now: datetime, sealed: bytes = b"") -> None:
        values = {"sealed": sealed} if sealed else {}
        async with self._engine.begin() as connection:
            await connection.execute(statement, {**_key(job_id, client_id, now), **values})

    def _sealed(self, plain: bytes, job_id: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, job_id.encode())

    def _opened(self, sealed: bytes, job_id: str) -> bytes:
        return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], job_id.encode())


def _key(job_id: str, client_id: str, now: datetime) -> dict[str, object]:
    return {"id_hash": hashlib.sha256(job_id.encode()).hexdigest(), "client_id": client_id, "now": now}
