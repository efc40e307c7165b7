"""What `/my` looks up: the port `PatientRecord` on top of the store, the audit trail and the requests that wait."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import or_, select
from structlog.contextvars import get_contextvars

from authz import tables
from authz.authorize.asked_categories import asked_categories
from authz.authorize.consent_details import details_from_row
from authz.clients.clients import find_client
from authz.context import AuthzContext
from authz.sign_in.accounts import ActsFor, names_of
from authz.sign_in.sessions import SignedInSession
from fhir.audit.event import CLIENT_SYSTEM, AuditRecord
from fhir.consents.summary import shown_text, summary_of
from fhir.consents.writing import PolicyText
from fhir.search.literals import SearchError
from fhir.search.query import CURSOR
from fhir.store.repository import StoredResource
from policies.catalogue import Catalogue
from portal.activity import Names, consents_in, in_words, person_in, user_in
from portal.archive import Archive, what_is_inside
from portal.consent_book import PatientsConsentBook
from portal.languages import Language
from portal.patient_search import PatientSearch
from portal.record_ports import ActivityAsked, ActivityPage, ConsentVersion, NoSuchPage, Waiting

LINES: Final = 200
"""Lines of one page of "Who saw what"."""
_MOST_WAITING: Final = 50
_MOST_UNNAMED: Final = 50
"""Apps without a consent whose names are looked up."""


class StoredRecord:
    """Looks things up for one page at a time."""

    def __init__(self, context: AuthzContext, consents: PatientsConsentBook) -> None:
        self._context = context
        self._consents = consents
        self._search = PatientSearch(context.repository)

    async def history(self, consent_id: str, language: Language) -> Sequence[ConsentVersion]:
        """As the port."""
        stored = [v for v in await self._context.repository.history("Consent", consent_id) if not v.deleted]
        bodies: list[Mapping[str, Any]] = [msgspec.json.decode(version.body) for version in stored]
        texts = await self._texts({shown for body in bodies if (shown := shown_text(body)) is not None})
        ended_by = await self._ended_by(consent_id, bodies, language)
        replaced = [self._context.clock(), *(version.last_updated for version in stored)]
        rows = zip(stored, bodies, replaced, strict=False)
        return [self._version(version, body, until, texts, ended_by) for version, body, until in rows]

    async def activity(self, patient: ActsFor, asked: ActivityAsked, language: Language) -> ActivityPage:
        """As the port."""
        await self._context.audit.settle(patient.patient_id)
        conditions = [("_sort", "-date")]
        if asked.app:
            conditions.append(("agent:identifier", f"{CLIENT_SYSTEM}|{_escaped(asked.app)}"))
        if asked.until is not None:
            conditions.append(("date", f"le{asked.until.isoformat()}"))
        if asked.older:
            conditions.append((CURSOR, asked.older))
        try:
            page = await self._search.page("AuditEvent", patient.patient_id, conditions, LINES)
        except SearchError as unfit:
            raise NoSuchPage from unfit
        events = [msgspec.json.decode(stored.body) for stored in page.matches]
        names = await self._names(patient, events)
        lines = [in_words(event, names, language) for event in events]
        apps = sorted(names.app.items(), key=lambda app: (app[1].casefold(), app[0]))
        return ActivityPage(lines, page.next_cursor, apps)

    async def waiting(self, patient_id: str, by: SignedInSession) -> Sequence[Waiting]:
        """As the port: requests that this person opened, and consents that were proposed."""
        requested = [s for s in await self._consents.sharing(patient_id) if s.state == "requested"]
        proposed = [
            Waiting(
                shared.app_name,
                shared.asked or shared.categories,
                shared.since,
                shared.until,
                consent_id=shared.consent_id if shared.can_be_answered else "",
            )
            for shared in [await self._consents.as_registered(s) for s in requested[:_MOST_WAITING]]
        ]
        return [*await self._opened(patient_id, by), *proposed]

    async def archive(self, patient_id: str, by: SignedInSession, language: Language) -> AsyncIterator[bytes]:
        """As the port."""
        context = self._context
        now = context.clock()
        # Before the first byte: nothing is disclosed without a durable record.
        await context.audit.record(
            AuditRecord(
                kind="export",
                action="R",
                outcome="0",
                recorded=now,
                request_id=str(get_contextvars().get("request_id", "")),
                user=by.account.fhir_user or f"{by.account.role}:{by.account.username}",
                patient=patient_id,
            )
        )
        await context.audit.settle(patient_id)
        return Archive(context, patient_id, now, what_is_inside(language)).pieces()

    async def _opened(self, patient_id: str, by: SignedInSession) -> Sequence[Waiting]:
        r = tables.authorization_request.c
        waits = (r.user_id == by.account.id, r.completed_at.is_(None), r.expires_at > self._context.clock())
        rows = select(tables.authorization_request).where(
            *waits, or_(r.patient_id.is_(None), r.patient_id == patient_id)
        )
        async with self._context.engine.connect() as connection:
            found = (await connection.execute(rows.order_by(r.created_at.desc()).limit(_MOST_WAITING))).all()
            clients = {row.client_id: await find_client(connection, row.client_id) for row in found}
        # Whoever opens the same app twice has one question to answer, the newest.
        newest = {row.client_id: row for row in reversed(found)}
        return [
            Waiting(
                client.name,
                _asked(row.parameters, self._context.catalogue),
                row.created_at,
                row.expires_at,
                request=row.id_hash,
            )
            for row in reversed(newest.values())
            if (client := clients[row.client_id]) is not None and client.is_live
        ]

    async def _names(self, patient: ActsFor, events: Sequence[Mapping[str, Any]]) -> Names:
        told = consents_in(events)
        shared = [
            await self._consents.as_registered(s) if s.consent_id in told else s
            for s in await self._consents.sharing(patient.patient_id)
        ]
        apps = {s.client_id: s.app_name for s in shared}
        looked = await self._context.audit.uses(patient.patient_id)
        async with self._context.engine.connect() as connection:
            people = await names_of(connection, {user for event in events if (user := user_in(event)) is not None})
            for client_id in sorted(set(looked) - set(apps))[:_MOST_UNNAMED]:
                client = await find_client(connection, client_id)
                apps[client_id] = client_id if client is None else client.name
        return Names(patient.patient_id, patient.patient_name, {s.consent_id: s.app_name for s in shared}, apps, people)

    def _version(
        self,
        stored: StoredResource,
        consent: Mapping[str, Any],
        replaced: datetime,
        texts: Mapping[str, PolicyText],
        ended_by: str,
    ) -> ConsentVersion:
        found = summary_of(consent, self._context.catalogue, replaced)
        by = ended_by if found.state == "revoked" else found.recorded_by
        return ConsentVersion(
            version=stored.version,
            when=stored.last_updated,
            who=by,
            state=found.state,
            permits=found.permits,
            plain=found.plain,
            sees=found.sees,
            categories=found.categories,
            asked=found.asked,
            purpose=found.purpose,
            until=found.until,
            policy=texts.get(shown_text(consent) or ""),
            writes=found.writes,
        )

    async def _ended_by(self, consent_id: str, bodies: Iterable[Mapping[str, Any]], language: Language) -> str:
        """Who took the consent back; the consent itself keeps who gave it."""
        patient = next((body.get("patient", {}).get("reference", "").removeprefix("Patient/") for body in bodies), "")
        await self._context.audit.settle(patient)
        conditions = (("entity", f"Consent/{consent_id}"), ("subtype", "revoke"), ("_sort", "date"))
        found = (await self._search.page("AuditEvent", patient, conditions, 1)).matches
        if not found:
            return ""
        event = msgspec.json.decode(found[0].body)
        async with self._context.engine.connect() as connection:
            names = await names_of(connection, {user for user in (user_in(event),) if user is not None})
        return person_in(event, names, language)

    async def _texts(self, hashes: set[str]) -> Mapping[str, PolicyText]:
        """The texts that are kept; one that isn't what its hash says is left out."""
        t = tables.policy_text.c
        rows = select(t.uri, t.version, t.language, t.text, t.sha256).where(t.sha256.in_(hashes))
        async with self._context.engine.connect() as connection:
            found = [PolicyText(*row) for row in await connection.execute(rows)]
        return {text.sha256: text for text in found if hashlib.sha256(text.text.encode()).hexdigest() == text.sha256}


def _escaped(value: str) -> str:
    """FHIR R4 §3.1.1.4.0.1: `,`, `|` and `$` in a search value."""
    return "".join(f"\\{character}" if character in "\\,|$" else character for character in value)


def _asked(parameters: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    """What the page of a request that waits will offer."""
    touched = asked_categories(parameters["scope"], catalogue)
    details = parameters.get("details")
    return touched if details is None else catalogue.common(touched, details_from_row(details).categories)
