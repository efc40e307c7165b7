"""`assent audit`: the record of what happened, for whoever keeps or examines it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from assent.commands.audit_evidence import Asked, export_evidence
from assent.commands.audit_verify import checkpoint, verify
from assent.commands.connection import command_engine, now
from assent.commands.consent import PatientOption, misused, on_one_line, patient_id, stored_pages
from assent.commands.output import show_record
from assent.load_settings import load_settings
from assent.migrate import SCHEMA
from assent.settings import Settings
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal
from fhir.r4.definitions import load_definitions
from fhir.r4.instants import instant_of
from fhir.store.repository import Repository

app = typer.Typer(help="The record of what happened.", no_args_is_help=True)
app.command("verify")(verify)
app.command("checkpoint")(checkpoint)

_DATE_HELP = "A FHIR date or dateTime (`2026-03`, `2026-03-09`, `2026-03-09T08:00:00Z`); it is included."


@app.command("export")
def export(
    patient: PatientOption = None,
    since: Annotated[str | None, typer.Option(help=f"First moment. {_DATE_HELP}")] = None,
    until: Annotated[str | None, typer.Option(help=f"Last moment. {_DATE_HELP}")] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE_OR_DIR", help="Write a zip with proof that nothing was changed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --evidence: print what was written as JSON.")] = False,
) -> None:
    """Write AuditEvents, the oldest first, to standard output: one JSON resource a line (NDJSON)."""
    criteria = [("_sort", "date")]
    if patient is not None:
        criteria.append(("patient", f"Patient/{patient_id(patient)}"))
    if since is not None:
        criteria.append(("date", f"ge{_date(since, '--since')}"))
    # Without an end, an export that runs beside a busy server might never catch up.
    criteria.append(("date", f"le{_date(until, '--until') if until is not None else _instant(now())}"))
    settings = load_settings()
    if evidence is None:
        asyncio.run(_print(settings, patient, criteria))
        return
    asked = Asked(criteria, patient and patient_id(patient), since, until)
    show_record(export_evidence(settings, evidence, asked), as_json=json)


async def _print(settings: Settings, patient: str | None, criteria: Sequence[tuple[str, str]]) -> None:
    async with command_engine(settings) as engine:
        repository = Repository(engine, load_definitions(), schema=SCHEMA, clock=now)
        await AuditIndexing(AuditJournal(engine, schema=SCHEMA), repository).settle(patient and patient_id(patient))
        async for page in stored_pages(repository, "AuditEvent", criteria):
            sys.stdout.write("".join(on_one_line(event.body) for event in page))
            sys.stdout.flush()


def _date(value: str, option: str) -> str:
    if instant_of(value, end=False) is None:
        raise misused(f"`{option} {value}` is not a FHIR date or dateTime, such as `2026-03-09`")
    return value


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
