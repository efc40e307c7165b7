"""Writes an evidence pack: AuditEvents with what proves, without the database, that they are as they were recorded.

From each event the chain is followed to the next checkpoint. Entries of other events on the way are given as digests,
which tell nothing about them. Memory: eight bytes an event, sixteen a checkpoint, and one batch.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from typing import IO, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit.chain import Link
from fhir.audit.evidence_format import (
    CHAIN,
    CHECKPOINTS,
    EVENTS,
    FORMAT,
    JWKS,
    MANIFEST,
    README,
    SIGNATURE,
    ChainLine,
    ListedFile,
    Manifest,
)
from fhir.audit.signature import MANIFEST_TYPE, Signer
from fhir.r4.resource_body import instant

_BATCH: Final = 200
_encode: Final = msgspec.json.encode
Write = Callable[[bytes], None]


class NoEvidence(RuntimeError):
    """The record isn't in order, so no pack can be made of it; the text says what is wrong."""


class EvidencePack:
    """Makes packs of one schema's record."""

    def __init__(self, engine: AsyncEngine, *, schema: str, signer: Signer) -> None:
        self._engine = engine
        self._signer = signer
        chain, checkpoints = f'"{schema}".audit_chain', f'"{schema}".audit_checkpoint'
        versions = f'"{schema}".fhir_resource_version'
        columns = ", ".join(f"c.{name}" for name in Link._fields)
        # The schema's name is ours in every statement here.
        self._seqs = text(f"SELECT seq FROM {chain} WHERE event_id = ANY(:ids)")  # noqa: S608
        self._bodies = text(
            f"SELECT v.body FROM {chain} c "  # noqa: S608
            f"JOIN {versions} v ON (v.resource_type, v.id, v.version) = ('AuditEvent', c.event_id, c.version) "
            "WHERE c.seq = ANY(:seqs) ORDER BY c.seq"
        )
        self._covering = text(
            f"SELECT seq, jws, public_jwk, voucher FROM {checkpoints} WHERE seq >= :seq ORDER BY seq LIMIT 1"  # noqa: S608
        )
        self._links = text(
            f"SELECT {columns} FROM {chain} c WHERE seq BETWEEN :first AND :last ORDER BY seq LIMIT {_BATCH}"  # noqa: S608
        )

    async def entries_of(self, event_ids: AsyncIterator[Sequence[str]]) -> Sequence[int]:
        """The seqs of these events' chain entries, in order. Raises NoEvidence when one has none."""
        found = array("q")
        async for ids in event_ids:
            async with self._engine.connect() as connection:
                seqs = list((await connection.execute(self._seqs, {"ids": list(ids)})).scalars())
            if len(seqs) != len(ids):
                raise NoEvidence("an AuditEvent has no chain entry of its own; `assent audit verify` says more")
            found.extend(seqs)
        return array("q", sorted(found))

    async def write(
        self,
        file: IO[bytes],
        seqs: Sequence[int],
        *,
        iss: str,
        at: datetime,
        patient: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Manifest:
        """Write the pack of these entries' events, which a checkpoint must cover, to `file`. Raises NoEvidence."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            with ZipFile(file, "w", ZIP_DEFLATED) as archive:
                pack = _Pack(archive)
                pack.put(README, files("fhir.r4.data").joinpath("evidence_readme.txt").read_bytes())
                with pack.member(EVENTS) as write:
                    await self._write_events(connection, seqs, write)
                with pack.member(CHECKPOINTS) as write:
                    runs, keys = await self._write_checkpoints(connection, seqs, write)
                with pack.member(CHAIN) as write:
                    await self._write_chain(connection, seqs, runs, write)
                # The key that will sign the manifest must be listed in it.
                key = self._signer.signing_key()
                keys[key["kid"]] = key
                pack.put(JWKS, _encode({"keys": list(keys.values())}))
                manifest = Manifest(FORMAT, iss, instant(at), len(seqs), pack.listed, patient, since, until)
                text_of_manifest = msgspec.json.format(_encode(manifest), indent=2)
                signed = self._signer.sign(text_of_manifest, MANIFEST_TYPE)
                if signed.kid not in keys:
                    raise NoEvidence("the signing key changed just now; try again")
                archive.writestr(MANIFEST, text_of_manifest)
                archive.writestr(SIGNATURE, signed.jws)
        return manifest

    async def _write_events(self, connection: AsyncConnection, seqs: Sequence[int], write: Write) -> None:
        for begin in range(0, len(seqs), _BATCH):
            wanted = list(seqs[begin : begin + _BATCH])
            bodies = list((await connection.execute(self._bodies, {"seqs": wanted})).scalars())
            if len(bodies) != len(wanted) or any(b"\n" in body for body in bodies):
                raise NoEvidence("an AuditEvent isn't what was recorded; `assent audit verify` says more")
            write(b"".join(body + b"\n" for body in bodies))

    async def _write_checkpoints(
        self, connection: AsyncConnection, seqs: Sequence[int], write: Write
    ) -> tuple[list[tuple[int, int]], dict[str, Any]]:
        """The runs of entries to be written, first and last, and the keys that signed their ends."""
        runs: list[tuple[int, int]] = []
        keys: dict[str, Any] = {}
        for seq in seqs:
            if runs and seq <= runs[-1][1]:
                continue
            found: Any = (await connection.execute(self._covering, {"seq": seq})).one_or_none()
            if found is None:
                raise NoEvidence(f"no checkpoint covers entry {seq}; `assent audit verify` says more")
            if not self._signer.vouches(found.public_jwk, found.voucher):
                raise NoEvidence("a checkpoint isn't what was signed; `assent audit verify` says more")
            runs.append((seq, found.seq))
            keys[found.public_jwk["kid"]] = found.public_jwk
            write(found.jws.encode() + b"\n")
        return runs, keys

    async def _write_chain(
        self, connection: AsyncConnection, seqs: Sequence[int], runs: Sequence[tuple[int, int]], write: Write
    ) -> None:
        wanted = iter([*seqs, 0])
        next_wanted = next(wanted)
        for first, last in runs:
            begin = first
            while begin <= last:
                rows = (await connection.execute(self._links, {"first": begin, "last": last})).all()
                if not rows:
                    raise NoEvidence("the chain has a gap; `assent audit verify` says more")
                for link in (Link(*row) for row in rows):
                    given = link.seq == next_wanted
                    next_wanted = next(wanted) if given else next_wanted
                    write(_encode(_line(link, given=given, first=link.seq == first)) + b"\n")
                begin = rows[-1].seq + 1


def _line(link: Link, *, given: bool, first: bool) -> ChainLine:
    previous = link.previous.hex() if first else None
    if not given:
        return ChainLine(link.seq, previous, link.digest.hex())
    return ChainLine(link.seq, previous, None, link.event_id, link.version, link.content.hex(), link.adopted)


class _Pack:
    """A zip, and the digests of what was put into it."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self.listed: dict[str, ListedFile] = {}

    @contextmanager
    def member(self, name: str) -> Iterator[Write]:
        digest, length = hashlib.sha256(), 0
        with self._archive.open(name, "w", force_zip64=True) as opened:

            def write(data: bytes) -> None:
                nonlocal length
                digest.update(data)
                length += len(data)
                opened.write(data)

            yield write
        self.listed[name] = ListedFile(digest.hexdigest(), length)

    def put(self, name: str, data: bytes) -> None:
        with self.member(name) as write:
            write(data)
