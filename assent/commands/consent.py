"""`assent consent`: what patients decided, for the operator to look at and, when a patient asks for it, to end.

`assent.commands.consent_grant` records what a patient decided about a service.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.commands.connection import command_engine, now, refuse
from assent.commands.output import MISUSED, JsonOption, show_record, show_rows
from assent.load_settings import load_settings
from assent.migrate import SCHEMA
from assent.policy_files import load_catalogue
from assent.wiring.mail import notices_of
from authz.consents.decisions import Ended, NotCurrent, end_consent
from fhir.audit.event import AuditRecord
from fhir.audit.journal import AuditJournal, entry_of
from fhir.consents.summary import summary_of
from fhir.r4.definitions import load_definitions
from fhir.search.query import CURSOR, parse_search
from fhir.store.repository import Repository, StoredResource
from policies.catalogue import Catalogue

app = typer.Typer(help="What patients decided.", no_args_is_help=True)

PAGE: Final = 200
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_MAX_REASON: Final = 200
_COLUMNS: Final = ("id", "patient", "client", "status", "state", "categories", "until", "version")
Result = TypeVar("Result")

ConsentArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id; `assent consent list` shows them.")]
PatientOption = Annotated[str | None, typer.Option(metavar="ID", help="Only about this patient.")]


@app.command("list")
def list_all(patient: PatientOption = None, json: JsonOption = False) -> None:
    """List consents as they are now, the newest first."""
    criteria = [("_sort", "-_lastUpdated")]
    if patient is not None:
        criteria.append(("patient", f"Patient/{patient_id(patient)}"))

    catalogue = _catalogue()

    async def work(_: AsyncEngine, repository: Repository) -> list[dict[str, object]]:
        found = stored_pages(repository, "Consent", criteria)
        return [summary(stored, catalogue, now()) async for page in found for stored in page]

    show_rows(with_repository(work), _COLUMNS, as_json=json)


@app.command("show")
def show(consent: ConsentArgument, json: JsonOption = False) -> None:
    """Print the current version: a FHIR R4 Consent, which is JSON with or without `--json`."""
    wanted = consent_id(consent)
    found = with_repository(lambda _, repository: repository.read("Consent", wanted))
    if found is None or found.deleted:
        raise _unknown(wanted)
    typer.echo(msgspec.json.format(found.body, indent=2).decode())


@app.command("history")
def history(consent: ConsentArgument, json: JsonOption = False) -> None:
    """List every version, the newest first; with `--json` each with its FHIR R4 Consent."""
    wanted = consent_id(consent)
    versions = with_repository(lambda _, repository: repository.history("Consent", wanted))
    if not versions:
        raise _unknown(wanted)
    catalogue = _catalogue()
    rows = [
        summary(stored, catalogue, now()) | {"last_updated": stored.last_updated.isoformat()} for stored in versions
    ]
    if json:
        rows = [row | {"resource": _content(stored) or None} for row, stored in zip(rows, versions, strict=True)]
    show_rows(rows, ("version", "last_updated", "status", "state", "categories", "until"), as_json=json)


@app.command("revoke")
def revoke(
    consent: ConsentArgument,
    reason: Annotated[str, typer.Option(help="Why, for the audit record; the patient may read it.")] = "",
    json: JsonOption = False,
) -> None:
    """End a consent and all access that hangs on it, at once; recorded as done by an operator."""
    wanted = consent_id(consent)
    if len(reason) > _MAX_REASON:
        raise misused(f"a reason may have {_MAX_REASON} characters, this one has `{len(reason)}`")

    async def work(engine: AsyncEngine, repository: Repository) -> Ended:
        async with engine.begin() as connection:
            ended = await end_consent(connection, repository, wanted, now(), notices_of(load_settings()))
            record = _by_operator(wanted, ended, reason)
            await AuditJournal(engine, schema=SCHEMA).append_in(entry_of(record), connection)
        return ended

    try:
        ended = with_repository(work)
    except NotCurrent:
        raise _unknown(wanted) from None
    show_record({"id": wanted, "patient": ended.patient, "revoked": True, "grants": list(ended.grants)}, as_json=json)


def summary(stored: StoredResource, catalogue: Catalogue, at: datetime) -> dict[str, object]:
    """One line about one version of a consent."""
    consent = _content(stored)
    found = summary_of(consent, catalogue, at)
    return {
        "id": stored.id,
        "patient": found.patient,
        "client": found.grantee,
        "status": "deleted" if stored.deleted else consent.get("status", ""),
        "state": found.state,
        "categories": list(found.categories),
        "until": None if found.until is None else consent["provision"]["period"]["end"],
        "version": stored.version,
    }


def _content(stored: StoredResource) -> dict[str, Any]:
    return {} if stored.deleted else msgspec.json.decode(stored.body, type=dict[str, Any])


def _catalogue() -> Catalogue:
    return load_catalogue(load_settings().policy_dir)


def _by_operator(consent: str, ended: Ended, reason: str) -> AuditRecord:
    return AuditRecord(
        kind="revoke",
        action="U",
        outcome="0",
        recorded=now(),
        request_id=str(uuid.uuid4()),
        user=operator(),
        patient=ended.patient,
        entities=(f"Consent/{consent}",),
        description=f"ended by an operator on the command line: {reason}" if reason else "ended by an operator",
    )


def operator() -> str:
    """Who runs the command, for the audit record."""
    return f"operator:{getpass.getuser()}"


async def stored_pages(
    repository: Repository, resource_type: str, criteria: Sequence[tuple[str, str]]
) -> AsyncIterator[Sequence[StoredResource]]:
    """All matches, one page in memory at a time."""
    pairs = [*criteria, ("_count", str(PAGE)), ("_total", "none")]
    cursor: str | None = None
    while True:
        asked = pairs if cursor is None else [*pairs, (CURSOR, cursor)]
        page = await repository.search(parse_search(resource_type, asked, repository.definitions, max_count=PAGE))
        yield page.matches
        cursor = page.next_cursor
        if cursor is None:
            return


def on_one_line(body: bytes) -> str:
    """A resource as a line of NDJSON; its numbers stay as they are written."""
    return msgspec.json.format(body, indent=-1).decode() + "\n"


def patient_id(text: str) -> str:
    """The id in `p1` or `Patient/p1`. A comma or a bar would search for something else, so they are refused."""
    return _id(text, "Patient")


def consent_id(text: str) -> str:
    """The id in `c1` or `Consent/c1`."""
    return _id(text, "Consent")


def _id(text: str, resource_type: str) -> str:
    found = text.removeprefix(f"{resource_type}/")
    if _ID.fullmatch(found) is None:
        raise misused(f"`{text}` is not the id of a {resource_type}: letters, digits, `-` and `.`, at most 64")
    return found


def misused(text: str) -> typer.Exit:
    """Say what is wrong with the arguments; raise what this returns."""
    typer.echo(text, err=True)
    return typer.Exit(MISUSED)


def _unknown(consent: str) -> typer.Exit:
    return refuse(f"there is no consent `{consent}`; see `assent consent list`")


def with_repository(work: Callable[[AsyncEngine, Repository], Awaitable[Result]]) -> Result:
    """Run `work` on the store."""

    async def run() -> Result:
        async with command_engine(load_settings()) as engine:
            return await work(engine, Repository(engine, load_definitions(), schema=SCHEMA, clock=now))

    return asyncio.run(run())
