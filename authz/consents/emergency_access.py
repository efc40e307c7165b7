"""Emergency access (break-glass): a clinician opens a record of which the patient shares nothing, or too little.

Off unless the operator switched it on. The grant has purpose BTG, ends by itself and isn't renewed; it hangs on no
consent, but every deny of the patient that reaches break-glass counts (policies.emergency). The reason, the grant and
the audit record are one transaction: either all of it is there or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.authorize.requests import PendingRequest, complete_request
from authz.consents.clinician_access import may_launch
from authz.consents.decisions import AlreadyDecided
from authz.context import AuthzContext
from authz.sign_in.accounts import Account
from authz.sign_in.methods import UNKNOWN, SignInMethods
from authz.tokens.grants import create_grant, emergency_rules, revoke_grants
from fhir.audit.event import AuditRecord
from fhir.store.change_bus import Change
from policies.consent_evaluation import Circumstances
from policies.decide import grantee_of
from policies.open_categories import open_categories
from policies.purpose_of_use import BREAK_GLASS
from smart.scope_syntax import split_scope

SHORTEST_REASON: Final = 10
LONGEST_REASON: Final = 250
LONGEST_NOTE: Final = 1_000
MOST: Final = 50
"""Accesses that one page lists."""
_LASTING: Final = frozenset({"offline_access", "online_access"})


class NotOffered(Exception):
    """This person, app or patient can't have it, or the operator didn't switch it on."""


class Denied(Exception):
    """The patient, or what they decided elsewhere, denies this too."""


class UnfitReason(ValueError):
    """The reason is too short or too long."""


@dataclass(frozen=True, slots=True)
class EmergencyAccess:
    """One of them."""

    grant_id: str
    client_id: str
    client_name: str
    fhir_user: str
    user_name: str
    patient_id: str
    reason: str
    opened_at: datetime
    ends_at: datetime
    """When it ended or will end: by itself, or by the operator."""
    reviewed_at: datetime | None
    reviewed_by: str | None
    review_note: str | None


@dataclass(frozen=True, slots=True)
class _Opening:
    """One that may be opened, if the patient's denies leave anything open."""

    asked: PendingRequest
    """The request as it is granted: for break-glass, and no longer than that."""
    account: Account
    fhir_user: str
    patient_id: str
    now: datetime
    ends: datetime


class EmergencyUse:
    """The use cases behind the pages. Callers check that who reviews or ends is an operator."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    def may_ask(self, request: PendingRequest, account: Account) -> bool:
        """Whether this person may open a record in an emergency with this app; says nothing about any patient."""
        context = self._context
        switched_on = context.lifetimes.emergency is not None and BREAK_GLASS in context.catalogue.purposes
        return switched_on and may_launch(request, account) and bool(split_scope(request.scope)[1])

    async def open(
        self,
        request: PendingRequest,
        account: Account,
        patient_id: str,
        reason: str,
        auth_time: datetime,
        request_id: str,
        methods: SignInMethods = UNKNOWN,
    ) -> str:
        """Record the access; returns the redirect URI with the code.

        `patient_id` is the launch's, or the id that the person gave. Raises NotOffered, UnfitReason, Denied,
        AlreadyDecided.
        """
        now = self._context.clock()
        opening = self._offered(request, account, patient_id, now)
        reason = clean_reason(reason)
        told = _told(opening, reason, request_id)
        if not await self._opens_anything(opening.asked, opening.fhir_user, patient_id, now):
            await self._context.audit.record(msgspec.structs.replace(told, outcome="4"))
            raise Denied
        async with self._context.engine.begin() as connection:
            if not await complete_request(connection, request, now):
                raise AlreadyDecided
            code = await self._granted(connection, opening, reason, auth_time, methods)
            await self._context.notices.about_emergency(connection, patient_id, request.client.client_id, now)
            await self._context.audit.record(told, connection)
        return request.redirect(self._context.issuer, code=code)

    def _offered(self, request: PendingRequest, account: Account, patient_id: str, now: datetime) -> _Opening:
        """What is to be opened. Raises NotOffered."""
        lasts, fhir_user = self._context.lifetimes.emergency, account.fhir_user
        own = any(p.patient_id == patient_id for p in account.acts_for)
        other = request.launch is not None and request.launch.get("patient", patient_id) != patient_id
        if lasts is None or fhir_user is None or own or other or not self.may_ask(request, account):
            raise NotOffered
        asked = replace(request, patient_id=patient_id, purpose=BREAK_GLASS, scope=_for_now(request.scope))
        bound = None if request.details is None else request.details.end(now)
        ends = now + lasts if bound is None else min(now + lasts, bound)
        return _Opening(asked, account, fhir_user, patient_id, now, ends)

    async def _granted(
        self,
        connection: AsyncConnection,
        opening: _Opening,
        reason: str,
        auth_time: datetime,
        methods: SignInMethods,
    ) -> str:
        """The grant and the access that hangs on it; returns the code."""
        grant_id, code = await create_grant(
            connection,
            opening.asked,
            user_id=opening.account.id,
            consent_id=None,
            auth_time=auth_time,
            methods=methods,
            now=opening.now,
            code_lifetime=self._context.lifetimes.code,
            ends=opening.ends,
        )
        access = {
            "grant_id": grant_id,
            "client_id": opening.asked.client.client_id,
            "client_name": opening.asked.client.name,
            "fhir_user": opening.fhir_user,
            "user_name": opening.account.display_name,
            "patient_id": opening.patient_id,
            "reason": reason,
            "opened_at": opening.now,
            "ends_at": opening.ends,
        }
        await connection.execute(insert(tables.emergency_access).values(access))
        return code

    async def _opens_anything(self, asked: PendingRequest, fhir_user: str, patient_id: str, now: datetime) -> bool:
        """Whether the patient's denies leave anything of it open. They are asked again at every use."""
        context = self._context
        async with context.engine.connect() as connection:
            rules = await emergency_rules(connection, context.repository, context.catalogue, patient_id)
        known = frozenset(context.catalogue.categories)
        app, person = frozenset({grantee_of(asked.client.client_id)}), frozenset({fhir_user})
        knowledge = await context.directory.knowledge(rules, person)
        around = Circumstances(
            patient_id,
            app,
            BREAK_GLASS,
            now,
            users=person,
            memberships=knowledge.askers,
            categories=known,
            wholes=context.catalogue.wholes,
            within=None if asked.details is None else frozenset(asked.details.categories),
        )
        opened = open_categories(rules, around, context.catalogue)
        return any(not (category.always or category.sensitive) for category in opened)

    async def about(self, patient_id: str) -> Sequence[EmergencyAccess]:
        """What was opened of one patient, newest first, at most MOST."""
        return await self._found(_select().where(tables.emergency_access.c.patient_id == patient_id))

    async def newest(self) -> Sequence[EmergencyAccess]:
        """Whatever was opened: what waits for review first, each newest first, at most MOST."""
        return await self._found(_select().order_by(None).order_by(*_WAITING_FIRST))

    async def unreviewed(self) -> int:
        """How many wait for review."""
        waits = select(func.count()).where(tables.emergency_access.c.reviewed_at.is_(None))
        async with self._context.engine.connect() as connection:
            return int((await connection.execute(waits)).scalar_one())

    async def review(self, grant_id: str, note: str, account: Account, request_id: str) -> bool:
        """Note that somebody looked at it; False when there is none that waits. Raises UnfitReason."""
        told = " ".join(note.split())
        if not 0 < len(told) <= LONGEST_NOTE:
            raise UnfitReason
        e, now = tables.emergency_access, self._context.clock()
        values = {"reviewed_at": now, "reviewed_by": account.display_name, "review_note": told}
        waits = update(e).where(e.c.grant_id == grant_id, e.c.reviewed_at.is_(None)).values(values)
        async with self._context.engine.begin() as connection:
            row = (await connection.execute(waits.returning(e))).first()
            if row is None:
                return False
            await self._record(connection, "U", row, account, request_id, now)
        return True

    async def end(self, grant_id: str, account: Account, request_id: str) -> bool:
        """End it now, in every process; False when it has ended already."""
        e, now = tables.emergency_access, self._context.clock()
        runs = update(e).where(e.c.grant_id == grant_id, e.c.ends_at > now).values(ends_at=now)
        async with self._context.engine.begin() as connection:
            row = (await connection.execute(runs.returning(e))).first()
            if row is None:
                return False
            await revoke_grants(connection, now, tables.grant.c.id == grant_id)
            await self._record(connection, "D", row, account, request_id, now)
        self._context.tell(Change("grant", grant_id))
        return True

    async def _found(self, wanted: Select[Any]) -> Sequence[EmergencyAccess]:
        async with self._context.engine.connect() as connection:
            rows = await connection.execute(wanted.limit(MOST))
            return [EmergencyAccess(**row._mapping) for row in rows]

    async def _record(
        self, connection: AsyncConnection, action: Any, row: Any, account: Account, request_id: str, now: datetime
    ) -> None:
        await self._context.audit.record(
            AuditRecord(
                kind="emergency",
                action=action,
                outcome="0",
                recorded=now,
                request_id=request_id,
                client_id=row.client_id,
                client_name=row.client_name,
                user=account.fhir_user or f"{account.role}:{account.username}",
                patient=row.patient_id,
                purpose=BREAK_GLASS,
            ),
            connection,
        )


def _told(opening: _Opening, reason: str, request_id: str) -> AuditRecord:
    """What goes on record, and to the patient."""
    return AuditRecord(
        kind="emergency",
        action="C",
        outcome="0",
        recorded=opening.now,
        request_id=request_id,
        client_id=opening.asked.client.client_id,
        client_name=opening.asked.client.name,
        user=opening.fhir_user,
        patient=opening.patient_id,
        purpose=BREAK_GLASS,
        reason=reason,
    )


def clean_reason(text: str) -> str:
    """The reason on one line. Raises UnfitReason."""
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not SHORTEST_REASON <= len(told) <= LONGEST_REASON:
        raise UnfitReason
    return told


def _for_now(scope: str) -> str:
    """The scope without what would outlast the emergency."""
    return " ".join(part for part in scope.split(" ") if part not in _LASTING)


_E: Final = tables.emergency_access.c
_WAITING_FIRST: Final = (_E.reviewed_at.is_not(None), _E.opened_at.desc())


def _select() -> Select[Any]:
    return select(*(_E[field.name] for field in fields(EmergencyAccess))).order_by(_E.opened_at.desc())
