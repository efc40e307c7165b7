"""`assent audit verify`: is the stored record, or an evidence pack, what was recorded and signed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.commands.audit_record import settled_record
from assent.commands.connection import refuse
from assent.commands.consent import misused
from assent.commands.output import NO, JsonOption, show_record
from assent.load_settings import load_settings
from assent.migrate import SCHEMA
from assent.settings import Settings
from fhir.audit.checkpoints import Checkpoint
from fhir.audit.defect import Defect
from fhir.audit.evidence_check import check_pack
from fhir.audit.verification import AuditVerification
from fhir.r4.resource_body import instant

_MAX_FILE = 1_048_576


def verify(
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint (JWS) that was kept elsewhere; it must fit too.")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verify this evidence pack instead; needs no database.")
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --pack: the server's key set, learned from the server.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Recompute the hash chain over all AuditEvents and verify its signed checkpoints; exit code 1 for a defect."""
    if pack is not None and checkpoint is None:
        _answer(_checked(pack, jwks), as_json=json)
        return
    if pack is not None or jwks is not None:
        raise misused("`--jwks` goes with `--pack`, and `--pack` goes without `--checkpoint`")
    kept = None if checkpoint is None else _text(checkpoint).strip()
    _answer(asyncio.run(_stored(load_settings(), kept)), as_json=json)


def checkpoint(json: JsonOption = False) -> None:
    """Print the newest signed checkpoint, after writing one if the chain has grown: to be kept somewhere else."""

    async def run() -> Checkpoint | None:
        async with settled_record(load_settings()) as record:
            return await record.checkpoints.write()

    found = asyncio.run(run())
    if found is None:
        raise refuse("nothing has been recorded yet")
    if json:
        shown = {"seq": found.seq, "hash": found.hash.hex(), "time": instant(found.time), "kid": found.kid}
        show_record(shown | {"jws": found.jws}, as_json=True)
    else:
        typer.echo(found.jws)


def _checked(pack: Path, jwks: Path | None) -> dict[str, Any]:
    expected = None if jwks is None else _text(jwks).encode()
    try:
        with pack.open("rb") as opened:
            found = check_pack(opened, expected)
    except OSError:
        raise misused(f"`{pack}` can't be read") from None
    about = found.manifest
    return {
        "ok": found.defect is None,
        "events": found.events,
        "checkpoints": found.checkpoints,
        "iss": about and about.iss,
        "created": about and about.created,
        "patient": about and about.patient,
        "since": about and about.since,
        "until": about and about.until,
        "key": found.key,
        "key_expected": found.trusted,
        "defect": _defect(found.defect),
    }


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
