"""`assent consent grant`: records what a patient decided about a backend service, which asks nobody by itself."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Final

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from assent.commands.connection import now, refuse
from assent.commands.consent import misused, operator, patient_id, with_repository
from assent.commands.output import JsonOption, show_record
from assent.load_settings import load_settings
from assent.migrate import SCHEMA
from assent.policy_files import load_catalogue, load_policy_text
from assent.wiring.mail import notices_of
from authz import tables
from authz.clients.clients import find_client
from authz.consents.recorded_consents import Decided, NotRecordable, Recorded, record_consent
from fhir.audit.event import AuditRecord
from fhir.audit.journal import AuditJournal, entry_of
from fhir.r4.instants import instant_of
from fhir.store.repository import Repository

_MAX_NOTE: Final = 200


def grant_command(
    patient: Annotated[str, typer.Option(metavar="ID", help="Who decided, for their own record.")],
    client: Annotated[str, typer.Option(metavar="CLIENT_ID", help="A client of kind `backend`.")],
    category: Annotated[list[str], typer.Option(metavar="CODE", help="What is shared; may be repeated.")],
    note: Annotated[str, typer.Option(help="How they decided, for the audit record, such as where a paper lies.")],
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Last day; without it, until revoked.")] = None,
    json: JsonOption = False,
) -> None:
    """Record that a patient shares with a backend service. It counts at once; the patient can take it back at `/my`."""
    owner = patient_id(patient)
    ends = None if until is None else instant_of(until, end=True)
    if until is not None and ends is None:
        raise misused(f"`{until}` is no date such as `2027-12-31`")
    if not note.strip() or len(note) > _MAX_NOTE:
        raise misused(f"`--note` takes 1 to {_MAX_NOTE} characters")
    settings = load_settings()
    folder = settings.policy_dir
    catalogue = load_catalogue(folder)
    text = load_policy_text(catalogue, folder)

    async def work(engine: AsyncEngine, repository: Repository) -> Recorded:
        async with engine.begin() as connection:
            registered = await find_client(connection, client)
            if registered is None:
                raise NotRecordable(f"there is no client `{client}`; see `assent client list`")
            name = await _name(connection, owner)
            decided = Decided(owner, name, tuple(dict.fromkeys(category)), ends, text)
            told = notices_of(settings)
            recorded = await record_consent(connection, repository, catalogue, registered, decided, now(), told)
            record = _by_operator(owner, client, recorded, note, now())
            await AuditJournal(engine, schema=SCHEMA).append_in(entry_of(record), connection)
        return recorded

    try:
        recorded = with_repository(work)
    except NotRecordable as reason:
        raise refuse(str(reason)) from None
    show_record(
        {"id": recorded.consent_id, "version": recorded.version, "patient": owner, "client": client}, as_json=json
    )


async def _name(connection: AsyncConnection, patient: str) -> str:
    p = tables.user_patient.c
    own = select(p.patient_name).where(p.patient_id == patient).order_by(p.own.desc()).limit(1)
    return (await connection.scalar(own)) or patient


def _by_operator(patient: str, client: str, recorded: Recorded, note: str, at: datetime) -> AuditRecord:
    return AuditRecord(
        kind="consent",
        action="C" if recorded.version == 1 else "U",
        outcome="0",
        recorded=at,
        request_id=str(uuid.uuid4()),
        client_id=client,
        user=operator(),
        patient=patient,
        entities=(f"Consent/{recorded.consent_id}",),
        description=f"recorded by an operator on the command line: {note}",
    )
