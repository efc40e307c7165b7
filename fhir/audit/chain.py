"""The hash chain over AuditEvents: what was recorded can't be changed, removed or reordered without a trace.

An entry names one version of one AuditEvent by the SHA-256 of its stored bytes, and holds the hash of the entry before.
Entries are appended in the transaction that stores the events (`fhir.audit.indexing`), one transaction at a time.
How the bytes are put together is part of the format: docs/audit.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_ADOPTED_AT_ONCE: Final = 500
_LOCK: Final = 7_301_555
GENESIS: Final = hashlib.sha256(b"assent-audit-genesis-1\n").digest()
"""What stands for the hash before the first entry."""


class Link(NamedTuple):
    """One entry. `seq` counts from 1; `content`, `previous` and `hash` are SHA-256 digests (32 bytes).

    `adopted`: the event was in the repository before it was chained, so nothing vouches for its time before.
    """

    seq: int
    event_id: str
    version: int
    content: bytes
    adopted: bool
    previous: bytes
    hash: bytes

    @property
    def right_hash(self) -> bytes:
        """The hash that the other fields lead to."""
        return link_hash(self.previous, self.digest)

    @property
    def digest(self) -> bytes:
        """What the chain says of the event. It gives away nothing: the event's id has at least 74 random bits."""
        origin = "adopted" if self.adopted else "moved"
        fields = ("assent-audit-entry-1", self.seq, self.event_id, self.version, self.content.hex(), origin)
        return _digest(fields)


def link_hash(previous: bytes, digest: bytes) -> bytes:
    """The hash of an entry, from the hash of the one before and its own digest."""
    return _digest(("assent-audit-link-1", previous.hex(), digest.hex()))


def link_after(head: tuple[int, bytes], event_id: str, version: int, content: bytes, *, adopted: bool) -> Link:
    """The entry that follows `head` (its seq and hash)."""
    seq, previous = head
    unhashed = Link(seq + 1, event_id, version, content, adopted, previous, b"")
    return unhashed._replace(hash=unhashed.right_hash)


def _digest(fields: Sequence[object]) -> bytes:
    return hashlib.sha256("".join(f"{field}\n" for field in fields).encode()).digest()


def chain_table(metadata: MetaData) -> Table:
    """`audit_chain`: only ever inserted into."""
    return Table(
        "audit_chain",
        metadata,
        Column("seq", BigInteger, autoincrement=False),
        Column("event_id", Text(collation="C"), nullable=False),
        Column("version", Integer, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("adopted", Boolean, nullable=False),
        Column("previous", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("seq", name="pk_audit_chain"),
        UniqueConstraint("event_id", "version", name="uq_audit_chain_event"),
    )


class ChainUnavailable(RuntimeError):
    """The chain couldn't be read or written; no record is at fault."""


class AuditChain:
    """The table `audit_chain` of one schema."""

    def __init__(self, *, schema: str) -> None:
        chain, versions = f'"{schema}".audit_chain', f'"{schema}".fhir_resource_version'
        # The schema's name is ours in every statement here.
        self._head = text(f"SELECT seq, hash FROM {chain} ORDER BY seq DESC LIMIT 1")  # noqa: S608
        unchained = (
            f"FROM {versions} v WHERE resource_type = 'AuditEvent' AND NOT EXISTS "
            f"(SELECT FROM {chain} c WHERE c.event_id = v.id AND c.version = v.version)"
        )
        self._unchained_of = text(f"SELECT id, version, body {unchained} AND id = ANY(:ids) ORDER BY id, version")
        self._some_unchained = text(f"SELECT id {unchained} AND id > :after ORDER BY id LIMIT {_ADOPTED_AT_ONCE}")
        self._append = text(
            f"INSERT INTO {chain} (seq, event_id, version, content, adopted, previous, hash) "  # noqa: S608
            "VALUES (:seq, :event_id, :version, :content, :adopted, :previous, :hash)"
        )

    async def append(self, connection: AsyncConnection, event_ids: Sequence[str], *, adopted: bool = False) -> int:
        """Chain what is stored under these ids and not chained yet, by id; how many entries were made.

        Joins the transaction, and from here to its end keeps others from appending: call it last. Raises
        ChainUnavailable.
        """
        try:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            # A statement of its own, after the lock: it sees what the holder before committed.
            head = await self.head(connection)
            links: list[Link] = []
            for event_id, version, body in await connection.execute(self._unchained_of, {"ids": list(event_ids)}):
                link = link_after(head, event_id, version, hashlib.sha256(body).digest(), adopted=adopted)
                links.append(link)
                head = (link.seq, link.hash)
            if links:
                await connection.execute(self._append, [link._asdict() for link in links])
        except Exception as broken:
            raise ChainUnavailable("the audit chain can't be read or written") from broken
        return len(links)

    async def head(self, connection: AsyncConnection) -> tuple[int, bytes]:
        """seq and hash of the last entry; 0 and GENESIS while there is none."""
        found: Any = (await connection.execute(self._head)).one_or_none()
        return (0, GENESIS) if found is None else (found.seq, found.hash)

    async def adopt(self, engine: AsyncEngine) -> int:
        """Chain every event that a release without a chain stored, by id; how many there were."""
        adopted, after = 0, ""
        while True:
            # Looked for outside the lock: with millions of events it takes seconds to find that there are none.
            async with engine.connect() as connection:
                ids = list((await connection.execute(self._some_unchained, {"after": after})).scalars())
            if not ids:
                return adopted
            after = ids[-1]
            async with engine.begin() as connection:
                adopted += await self.append(connection, ids, adopted=True)
