"""What clinicians decide: whether an app may work for them in a patient's record, within what the patient shares.

They decide on the use of their own access, never for the patient (docs/decisions/0008-clinician-launch.md): no Consent
is written, and what is open is read from the patient's consents at every use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.authorize.requests import PendingRequest, choose_patient, complete_request
from authz.clients.clients import Client
from authz.consents.decisions import AlreadyDecided
from authz.consents.standing_consents import (
    TREATMENT,
    Standing,
    hold_standing,
    names_of,
    standing_for_treatment,
    standing_rules,
)
from authz.context import AuthzContext
from authz.sign_in.accounts import Account
from authz.sign_in.methods import UNKNOWN, SignInMethods
from authz.tokens.grants import create_grant
from fhir.audit.event import AuditRecord
from policies.memberships import Knowledge

MOST_CANDIDATES: Final = 50


class NotShared(Exception):
    """The patient shares nothing with this app for treatment, or not any more."""


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """A patient who shares with the app."""

    patient_id: str
    patient_name: str
    standing: Standing


class ClinicianAccess:
    """The use cases behind a clinician's pages."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def record(self, request: PendingRequest, account: Account, patient_id: str) -> SharedRecord | None:
        """The patient's record as it is open to this app for treatment; None when it isn't."""
        found = await self._found(request, account, [patient_id])
        return found[0] if found else None

    async def records(self, request: PendingRequest, account: Account, name: str) -> Sequence[SharedRecord]:
        """Patients who share with this app for treatment, by name, at most MOST_CANDIDATES."""
        async with self._context.engine.connect() as connection:
            candidates = await connection.execute(_candidates(request.client, name))
            patients = [row.patient_id for row in candidates]
        return await self._found(request, account, patients)

    async def choose(self, request: PendingRequest, account: Account, patient_id: str) -> None:
        """Put a patient in context. Raises NotShared."""
        if request.launch is not None and "patient" in request.launch:
            raise NotShared
        if await self.record(request, account, patient_id) is None:
            raise NotShared
        async with self._context.engine.begin() as connection:
            await choose_patient(connection, request, patient_id)

    async def allow(
        self,
        request: PendingRequest,
        account: Account,
        auth_time: datetime,
        request_id: str,
        methods: SignInMethods = UNKNOWN,
    ) -> str:
        """Record the grant; returns the redirect URI with the code. Raises AlreadyDecided, NotShared."""
        context, now = self._context, self._context.clock()
        if request.patient_id is None:
            raise NotShared
        known = await self._known([request.patient_id], account)
        async with context.engine.begin() as connection:
            await hold_standing(connection, request.patient_id)
            # The consents are those of this moment. Whom only a newer one names isn't known: that opens nothing.
            record = await self._record(connection, request, account, request.patient_id, known[request.patient_id])
            if record is None:
                raise NotShared
            if not await complete_request(connection, request, now):
                raise AlreadyDecided
            _, code = await create_grant(
                connection,
                replace(request, purpose=TREATMENT),
                user_id=account.id,
                consent_id=None,
                standing=True,
                auth_time=auth_time,
                methods=methods,
                now=now,
                code_lifetime=context.lifetimes.code,
            )
            await context.audit.record(
                AuditRecord(
                    kind="authorize",
                    action="C",
                    outcome="0",
                    recorded=now,
                    request_id=request_id,
                    client_id=request.client.client_id,
                    client_name=request.client.name,
                    user=account.fhir_user,
                    patient=record.patient_id,
                    purpose=TREATMENT,
                    consents=record.standing.consents,
                ),
                connection,
            )
        return request.redirect(context.issuer, code=code)

    async def _found(
        self, request: PendingRequest, account: Account, patients: Sequence[str]
    ) -> Sequence[SharedRecord]:
        known = await self._known(patients, account)
        async with self._context.engine.connect() as connection:
            found = [await self._record(connection, request, account, one, known[one]) for one in patients]
        return [record for record in found if record is not None]

    async def _known(self, patients: Sequence[str], account: Account) -> dict[str, Knowledge]:
        """What their consents ask of the directory.

        INVARIANT: it is asked without a connection in hand, and for all patients at once: it may be slow.
        """
        users, repository, directory = names_of(account.fhir_user), self._context.repository, self._context.directory
        async with self._context.engine.connect() as connection:
            consents = [await standing_rules(connection, repository, patient) or () for patient in patients]
        found = await asyncio.gather(*(directory.knowledge(rules, users) for rules in consents))
        return dict(zip(patients, found, strict=True))

    async def _record(
        self,
        connection: AsyncConnection,
        request: PendingRequest,
        account: Account,
        patient_id: str,
        knowledge: Knowledge,
    ) -> SharedRecord | None:
        if not may_launch(request, account):
            return None
        context = self._context
        standing = standing_for_treatment(
            await standing_rules(connection, context.repository, patient_id) or (),
            knowledge,
            context.catalogue,
            client_id=request.client.client_id,
            clinician=account.fhir_user,
            patient_id=patient_id,
            now=context.clock(),
        )
        if standing is None:
            return None
        p = tables.user_patient.c
        name = select(p.patient_name).where(p.patient_id == patient_id).order_by(p.own.desc()).limit(1)
        found = (await connection.execute(name)).scalar_one_or_none()
        return SharedRecord(patient_id, found or patient_id, standing)


def may_launch(request: PendingRequest, account: Account) -> bool:
    """Whether this person may use this app as a clinician at all.

    SMART has no parameter for a purpose, so an app that named none is taken to treat when it is registered for that;
    one that named another purpose isn't.
    """
    purposes = request.client.purposes
    return (
        account.is_clinician
        and request.is_for(account.fhir_user)
        and TREATMENT in purposes
        and request.purpose in (TREATMENT, purposes[0])
    )


def _candidates(client: Client, name: str) -> Select[tuple[str, str]]:
    """Patients who ever decided about this app for treatment; their consents say whether they share now."""
    g, p = tables.grant.c, tables.user_patient.c
    named = func.min(p.patient_name).label("name")
    decided = select(g.patient_id).where(
        g.client_id == client.client_id, g.purpose == TREATMENT, g.consent_id.is_not(None)
    )
    return (
        select(p.patient_id, named)
        .where(p.patient_id.in_(decided), p.patient_name.icontains(name, autoescape=True))
        .group_by(p.patient_id)
        .order_by(named, p.patient_id)
        .limit(MOST_CANDIDATES)
    )
