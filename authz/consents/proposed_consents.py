"""Consents that somebody else proposed, answered by the patient or whoever decides for them: yes, yes to less, or no.

A recorder writes a proposal (`proposed`); it opens nothing. The answer is its next version, the person's own decision,
with Provenance, audit record, letters and announcement in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.clients.clients import Client, find_client
from authz.consents.decisions import Choice, NotCurrent, keep_text
from authz.consents.standing_consents import hold_standing
from authz.context import AuthzContext
from authz.sign_in.accounts import Account
from fhir.audit.event import AuditRecord
from fhir.consents.provenance import decision_provenance
from fhir.consents.reading import read_consent
from fhir.consents.register import MAX_CONSENTS, StoredConsents
from fhir.consents.summary import can_be_answered
from fhir.consents.writing import ConsentDecision, consent_resource
from fhir.r4.models import check_consent
from fhir.store.change_bus import Change, announce
from fhir.store.repository import StoredResource


class NotUsable(Exception):
    """The app isn't in use here, or not for that purpose: a yes would open nothing, or later what nobody expects."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered, and to which version."""

    consent_id: str
    version: int
    choice: Choice
    allowed: bool


class Proposals:
    """The use case behind "Waiting for your answer"."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def answer(self, answer: Answer, account: Account, request_id: str) -> None:
        """Write the decision. Raises NotCurrent, NotUsable; VersionConflict when somebody changed it meanwhile."""
        context, now = self._context, self._context.clock()
        async with context.engine.begin() as connection:
            content = await self._held(connection, answer, account)
            patient = read_consent(content).patient
            actor, purpose = content["provision"]["actor"][0]["reference"], content["provision"]["purpose"][0]["code"]
            client = await find_client(connection, actor["identifier"].get("value", ""))
            if answer.allowed:
                await self._check_usable(connection, client, purpose, patient)
            performer = account.fhir_user or f"Patient/{patient}"
            decision = ConsentDecision(
                patient=patient,
                performer=performer,
                performer_name=account.display_name,
                client_id=actor["identifier"].get("value", ""),
                client_name=actor.get("display", "") if client is None else client.name,
                purpose=purpose,
                asked=answer.choice.asked,
                granted=answer.choice.categories,
                starts=now,
                ends=answer.choice.ends,
                text=answer.choice.text,
                writes=answer.choice.writes,
                status="active" if answer.allowed else "rejected",
            )
            stored = await self._write(connection, content, answer.version, decision)
            await keep_text(connection, answer.choice.text, now)
            if answer.allowed:
                await context.notices.about_sharing(connection, patient, "consent-given", decision.client_id, now)
            body = msgspec.json.decode(stored.body)
            provenance = decision_provenance(
                stored, body, performer=performer, performer_name=account.display_name, now=now
            )
            await context.repository.create(provenance, connection=connection)
            await announce(connection, "consent", patient)
            record = AuditRecord(
                kind="authorize",
                action="U",
                outcome="0" if answer.allowed else "4",
                recorded=now,
                request_id=request_id,
                client_id=decision.client_id,
                client_name=decision.client_name,
                user=account.fhir_user,
                patient=patient,
                entities=(f"Consent/{answer.consent_id}",),
            )
            await context.audit.record(record, connection)
        context.tell(Change("consent", patient))

    async def _held(self, connection: AsyncConnection, answer: Answer, account: Account) -> dict[str, Any]:
        """The proposal as it was shown, while nobody else changes consents of its patient. Raises NotCurrent."""
        for held in (False, True):
            found = await self._context.repository.read("Consent", answer.consent_id, connection)
            if found is None or found.deleted or found.version != answer.version:
                raise NotCurrent
            content = msgspec.json.decode(found.body, type=dict[str, Any])
            patient = read_consent(content).patient
            mine = any(one.patient_id == patient for one in account.acts_for)
            if not mine or not can_be_answered(content, self._context.catalogue, self._context.clock()):
                raise NotCurrent
            if not held:
                await hold_standing(connection, patient)
        return content

    async def _check_usable(
        self, connection: AsyncConnection, client: Client | None, purpose: str, patient: str
    ) -> None:
        context = self._context
        if client is None or not client.is_live or purpose not in client.purposes:
            raise NotUsable
        active = await StoredConsents(context.repository).active_consents(patient, MAX_CONSENTS, connection)
        if len(active) >= MAX_CONSENTS:
            raise NotUsable

    async def _write(
        self, connection: AsyncConnection, before: dict[str, Any], version: int, decision: ConsentDecision
    ) -> StoredResource:
        """The next version, which keeps what the proposal is called elsewhere."""
        kept: dict[str, object] = {name: before[name] for name in ("id", "identifier") if name in before}
        resource = consent_resource(decision, self._context.catalogue) | kept
        check_consent(resource)
        return await self._context.repository.update(resource, expected_version=version, connection=connection)
