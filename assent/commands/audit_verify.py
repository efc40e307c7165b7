"""`assent audit verify`: is the stored record, or an evidence pack, what was recorded and signed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.app import SCHEMA
from assent.commands.audit_record import settled_record
from assent.commands.consent import misused
from assent.commands.output import NO, JsonOption, show_record
from assent.load_settings import load_settings
from assent.settings import Settings
from fhir.audit_verification import AuditVerification, Defect

_MAX_FILE = 1_048_576


def verify(
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint (JWS) that was kept elsewhere; it must fit too.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Recompute the hash chain over all AuditEvents and verify its signed checkpoints; exit code 1 for a defect."""
    kept = None if checkpoint is None else _text(checkpoint).strip()
    _answer(asyncio.run(_stored(load_settings(), kept)), as_json=json)


async def _stored(settings: Settings, kept: str | None) -> dict[str, Any]:
    async with settled_record(settings) as record:
        _, failed = await record.journal.counts()
        found = await AuditVerification(record.engine, schema=SCHEMA, signer=record.signer).run(kept=kept)
    return {
        "ok": found.defect is None,
        "entries": found.entries,
        "adopted": found.adopted,
        "checkpoints": found.checkpoints,
        "since_checkpoint": found.since_checkpoint,
        "hash": found.hash.hex(),
        "left_in_journal": failed,
        "defect": _defect(found.defect),
    }


def _defect(defect: Defect | None) -> dict[str, Any] | None:
    if defect is None:
        return None
    return {"kind": defect.kind, "seq": defect.seq, "event": defect.event, "text": defect.text}


def _answer(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json or found["ok"]:
        show_record(found, as_json=as_json)
    else:
        defect = found["defect"]
        at = "" if defect["seq"] is None else f" at entry `{defect['seq']}`"
        event = "" if defect["event"] is None else f", AuditEvent `{defect['event']}`"
        typer.echo(f"{defect['kind']}{at}{event}: {defect['text']}", err=True)
    if not found["ok"]:
        raise typer.Exit(NO)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_FILE).decode()
    except (OSError, UnicodeDecodeError):
        raise misused(f"`{file}` can't be read as text") from None
