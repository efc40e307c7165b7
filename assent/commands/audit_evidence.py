"""`assent audit export --evidence`: AuditEvents with the proof that they are as they were recorded, in one zip."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from assent.commands.audit_record import StoredRecord, settled_record
from assent.commands.connection import now, refuse
from assent.commands.consent import misused, stored_pages
from assent.migrate import SCHEMA
from assent.settings import Settings
from fhir.audit.evidence_check import check_pack
from fhir.audit.evidence_format import Manifest
from fhir.audit.evidence_pack import EvidencePack, NoEvidence


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: the search, and the options as they stand in the manifest."""

    criteria: Sequence[tuple[str, str]]
    patient: str | None
    since: str | None
    until: str | None


def export_evidence(settings: Settings, target: Path, asked: Asked) -> dict[str, Any]:
    """Write the pack to `target`, a file or a directory; what was written. The file appears only when it is whole."""
    at = now()
    file = target / f"assent-evidence-{at:%Y%m%dT%H%M%SZ}.zip" if target.is_dir() else target
    if file.exists():
        raise misused(f"`{file}` is there already: evidence isn't written over")
    partial = file.with_name(file.name + ".partial")
    opened = _private(partial)
    try:
        with opened:
            manifest = asyncio.run(_written(settings, opened, asked, at))
        partial.replace(file)
    except NoEvidence as why:
        raise refuse(str(why)) from None
    finally:
        partial.unlink(missing_ok=True)
    return {"file": str(file), "events": manifest.events}


async def _written(settings: Settings, file: IO[bytes], asked: Asked, at: datetime) -> Manifest:
    async with settled_record(settings) as record:
        return await _pack(record, file, asked, settings.public_url, at)


async def _pack(record: StoredRecord, file: IO[bytes], asked: Asked, iss: str, at: datetime) -> Manifest:
    async def ids() -> AsyncIterator[list[str]]:
        async for page in stored_pages(record.repository, "AuditEvent", asked.criteria):
            yield [event.id for event in page]

    pack = EvidencePack(record.engine, schema=SCHEMA, signer=record.signer)
    seqs = await pack.entries_of(ids())
    # Only now: a checkpoint from before might not cover what was recorded meanwhile.
    await record.checkpoints.write()
    manifest = await pack.write(file, seqs, iss=iss, at=at, patient=asked.patient, since=asked.since, until=asked.until)
    # A record that was tampered with gives a pack that doesn't hold: it isn't handed out.
    defect = check_pack(file).defect
    if defect is not None:
        raise NoEvidence(f"{defect.kind}: {defect.text}; `assent audit verify` says more")
    return manifest


def _private(file: Path) -> IO[bytes]:
    """A new file that only its owner reads: it holds data of patients."""
    try:
        return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
    except OSError as error:
        raise misused(f"`{file}` can't be written: {error.strerror}") from None
