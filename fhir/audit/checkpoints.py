"""Signed checkpoints of the hash chain: from then on, rewriting the chain up to there needs the server's key.

Written every few minutes while the chain grows, and at a clean shutdown. A killed process leaves a chain whose end no
checkpoint covers yet; the next process writes it. The same task chains what a release without a chain stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit.chain import AuditChain
from fhir.audit.signature import CHECKPOINT_TYPE, Signer, signed_payload
from fhir.r4.resource_body import instant

INTERVAL: Final = timedelta(minutes=5)
_ADOPT_SECONDS: Final = 3600.0
"""How long after its start a process still looks for events that a process of the release before stored."""
_CLOSE_SECONDS: Final = 10.0
_LOCK: Final = 7_301_556

_log = structlog.get_logger(__name__)


class Claims(msgspec.Struct, frozen=True):
    """What a checkpoint says: at `time`, server `iss` had `entries` entries, the last one `seq` with `hash` (hex)."""

    iss: str
    seq: int
    hash: str
    entries: int
    time: str


class Checkpoint(NamedTuple):
    """A stored checkpoint."""

    seq: int
    hash: bytes
    entries: int
    time: datetime
    kid: str
    jws: str
    public_jwk: dict[str, Any]
    voucher: bytes


_read: Final = msgspec.json.Decoder(Claims).decode


def claims_in(token: str, public_jwk: dict[str, Any]) -> Claims | None:
    """What a checkpoint signed by this key says; None when the key didn't sign it, or it is no checkpoint."""
    payload = signed_payload(token, public_jwk, CHECKPOINT_TYPE)
    try:
        return None if payload is None else _read(payload)
    except msgspec.MsgspecError:
        return None


def checkpoint_table(metadata: MetaData) -> Table:
    """`audit_checkpoint`: one row a checkpoint, with the key that verifies it."""
    return Table(
        "audit_checkpoint",
        metadata,
        Column("seq", BigInteger, autoincrement=False),
        Column("hash", LargeBinary, nullable=False),
        Column("entries", BigInteger, nullable=False),
        Column("time", DateTime(timezone=True), nullable=False),
        Column("kid", Text, nullable=False),
        Column("jws", Text, nullable=False),
        Column("public_jwk", JSONB, nullable=False),
        Column("voucher", LargeBinary, nullable=False),
        PrimaryKeyConstraint("seq", name="pk_audit_checkpoint"),
    )


async def latest_checkpoint(connection: AsyncConnection, *, schema: str) -> Checkpoint | None:
    """The last checkpoint there is, unverified."""
    table = checkpoint_table(MetaData(schema=schema))
    row = (await connection.execute(select(table).order_by(table.c.seq.desc()).limit(1))).one_or_none()
    return None if row is None else Checkpoint(*row)


class AuditCheckpoints:
    """Writes checkpoints of one schema's chain. One task does, from `start` to `close`."""

    def __init__(
        self, engine: AsyncEngine, *, schema: str, signer: Signer, issuer: str, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._chain = AuditChain(schema=schema)
        self._table = checkpoint_table(MetaData(schema=schema))
        self._schema = schema
        self._signer = signer
        self._issuer = issuer
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, in the running event loop; first what an earlier process left."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="audit-checkpoints")

    async def close(self) -> None:
        """Stop, with a checkpoint of what was chained since the last."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.write()
        except Exception as broken:  # the chain is committed; the next start writes the checkpoint
            _log.error("audit_checkpoint_failed", reason=type(broken).__name__)

    async def write(self, *, least_age: timedelta = timedelta(0)) -> Checkpoint | None:
        """A checkpoint at the chain's end, if it has grown and the last one is of this age; the last one there is."""
        async with self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            seq, hash = await self._chain.head(connection)
            last = await latest_checkpoint(connection, schema=self._schema)
            now = self._clock()
            if seq <= (last.seq if last else 0) or (last is not None and now - last.time < least_age):
                return last
            checkpoint = self._signed(seq, hash, now.replace(microsecond=now.microsecond // 1000 * 1000))
            await connection.execute(insert(self._table).values(**checkpoint._asdict()))
        return checkpoint

    def _signed(self, seq: int, hash: bytes, at: datetime) -> Checkpoint:
        claims = Claims(self._issuer, seq, hash.hex(), seq, instant(at))
        signed = self._signer.sign(msgspec.json.encode(claims), CHECKPOINT_TYPE)
        return Checkpoint(seq, hash, seq, at, signed.kid, signed.jws, signed.public_jwk, signed.voucher)

    async def _run(self) -> None:
        adopt_until = time.monotonic() + _ADOPT_SECONDS
        while True:
            try:
                if time.monotonic() < adopt_until and (adopted := await self._chain.adopt(self._engine)):
                    _log.info("audit_events_adopted", events=adopted)
                await self.write(least_age=INTERVAL)
            except Exception as broken:  # the database is away, most likely: the chain stays as it is until later
                _log.error("audit_checkpoint_failed", reason=type(broken).__name__)
            await asyncio.sleep(INTERVAL.total_seconds())
