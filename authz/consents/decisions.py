"""What people decide about apps, each decision in one transaction: the Consent, the grant that hangs on it, the audit
record and the announcement. Either all of it is there or nothing.

There is one current consent for a patient, an app and a purpose: a new decision is its next version. So every token
that an app has follows the newest decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.authorize.requests import PendingRequest, complete_request
from authz.consents.standing_consents import hold_standing
from authz.context import AuthzContext
from authz.mail.notices import NO_NOTICES, Notices, SharingKind, app_named_in
from authz.sign_in.accounts import Account
from authz.sign_in.methods import UNKNOWN, SignInMethods
from authz.tokens.grants import create_grant, revoke_grants
from fhir.audit.event import AuditRecord
from fhir.consents.reading import read_consent
from fhir.consents.writing import ConsentDecision, PolicyText, consent_resource, is_decision_on, is_own_shape
from fhir.r4.models import check_consent
from fhir.store.change_bus import Change, announce
from fhir.store.repository import Repository
from policies.codes import CLIENT_SYSTEM


class AlreadyDecided(Exception):
    """The request was decided before, or has expired."""


class NotCurrent(Exception):
    """The consent has ended, or somebody else changed it just now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose to share."""

    categories: tuple[str, ...]
    asked: tuple[str, ...]
    ends: datetime | None
    text: PolicyText
    writes: tuple[str, ...] = ()
    """Codes of consentaction that were allowed besides `access`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A consent that has ended: whose it is, and the ids of the grants that ended with it now."""

    patient: str
    grants: tuple[str, ...]


class Decisions:
    """The use cases behind the consent page and `/my`. Callers check that the account may act for the patient."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def allow(
        self,
        request: PendingRequest,
        account: Account,
        auth_time: datetime,
        choice: Choice,
        request_id: str,
        methods: SignInMethods = UNKNOWN,
    ) -> str:
        """Record the consent and the grant; returns the redirect URI with the code. Raises AlreadyDecided."""
        context, now = self._context, self._context.clock()
        async with context.engine.begin() as connection:
            if not await complete_request(connection, request, now):
                raise AlreadyDecided
            consent_id = None
            if request.patient_id is not None and choice.asked:
                consent_id = await self._write(connection, request, account, choice, now, "active")
            _, code = await create_grant(
                connection,
                request,
                user_id=account.id,
                consent_id=consent_id,
                auth_time=auth_time,
                methods=methods,
                now=now,
                code_lifetime=context.lifetimes.code,
            )
            await self._record(
                connection, "authorize", request_id, request.client, account, request.patient_id, consent_id
            )
        if request.patient_id is not None and consent_id is not None:
            context.tell(Change("consent", request.patient_id))
        return request.redirect(context.issuer, code=code)

    async def refuse(
        self, request: PendingRequest, account: Account, asked: Sequence[str], text: PolicyText, request_id: str
    ) -> str:
        """Record the no; returns the redirect URI with `access_denied`. What was allowed before stays."""
        context, now = self._context, self._context.clock()
        async with context.engine.begin() as connection:
            if not await complete_request(connection, request, now):
                raise AlreadyDecided
            # Only who may decide for the patient leaves a decision in their name.
            if request.patient_id is not None and may_decide(request, account):
                decision = self._decision(request, account, Choice((), tuple(asked), None, text), now, "rejected")
                await context.repository.create(self._resource(decision), connection=connection)
                await keep_text(connection, text, now)
            await self._record(
                connection, "authorize", request_id, request.client, account, request.patient_id, None, "4"
            )
        return request.redirect(context.issuer, error="access_denied", error_description="the request was denied")

    async def change(self, consent_id: str, account: Account, choice: Choice, request_id: str) -> None:
        """The next version of a consent, narrower or wider. Raises NotCurrent.

        One with other rules than people decide by here can be ended, not changed: what it says besides would be lost.
        """
        context, now = self._context, self._context.clock()
        async with context.engine.begin() as connection:
            found = await context.repository.read("Consent", consent_id, connection)
            if found is None or found.deleted:
                raise NotCurrent
            current: dict[str, Any] = msgspec.json.decode(found.body)
            if current["status"] != "active" or not is_own_shape(current, context.catalogue):
                raise NotCurrent
            actor = current["provision"]["actor"][0]["reference"]
            decision = ConsentDecision(
                patient=current["patient"]["reference"].removeprefix("Patient/"),
                performer=_performer(account, current["patient"]["reference"].removeprefix("Patient/")),
                performer_name=account.display_name,
                client_id=actor["identifier"]["value"],
                client_name=actor.get("display", ""),
                purpose=current["provision"]["purpose"][0]["code"],
                asked=choice.asked,
                granted=choice.categories,
                starts=now,
                ends=choice.ends,
                text=choice.text,
                writes=choice.writes,
            )
            await self._next_version(connection, consent_id, found.version, decision)
            await keep_text(connection, choice.text, now)
            await self._tell(connection, decision, "consent-changed")
            await self._record(
                connection, "consent", request_id, None, account, decision.patient, consent_id, action="U"
            )
        context.tell(Change("consent", decision.patient))

    async def revoke(self, consent_id: str, account: Account, request_id: str) -> None:
        """End a consent and every grant that hangs on it. One that has ended stays ended. Raises NotCurrent."""
        context, now = self._context, self._context.clock()
        async with context.engine.begin() as connection:
            ended = await end_consent(connection, context.repository, consent_id, now, context.notices)
            await self._record(connection, "revoke", request_id, None, account, ended.patient, consent_id, action="U")
        context.tell(Change("consent", ended.patient))
        for grant_id in ended.grants:
            context.tell(Change("grant", grant_id))

    async def _write(
        self,
        connection: AsyncConnection,
        request: PendingRequest,
        account: Account,
        choice: Choice,
        now: datetime,
        status: str,
    ) -> str:
        context = self._context
        decision = self._decision(request, account, choice, now, status)
        await keep_text(connection, choice.text, now)
        current = await self._current(connection, decision)
        if current is not None:
            await self._next_version(connection, *current, decision)
            await self._tell(connection, decision, "consent-changed")
            return current[0]
        stored = await context.repository.create(self._resource(decision), connection=connection)
        await announce(connection, "consent", decision.patient)
        await self._tell(connection, decision, "consent-given")
        return stored.id

    async def _current(self, connection: AsyncConnection, decision: ConsentDecision) -> tuple[str, int] | None:
        """Id and version of the active consent for the same patient, app and purpose."""
        # Two decisions at once for the same three must not make two current consents.
        key = f"{decision.patient} {decision.client_id} {decision.purpose}"
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
        g = tables.grant.c
        rows = await connection.execute(
            select(g.consent_id)
            .where(g.patient_id == decision.patient, g.client_id == decision.client_id, g.purpose == decision.purpose)
            .where(g.revoked_at.is_(None), g.consent_id.is_not(None))
            .order_by(g.created_at.desc())
            .limit(1)
        )
        consent_id = rows.scalar_one_or_none()
        found = None if consent_id is None else await self._context.repository.read("Consent", consent_id, connection)
        if found is None or found.deleted:
            return None
        content: dict[str, Any] = msgspec.json.decode(found.body)
        # What somebody else made of it since may say more than a decision, which then stands beside it.
        ours = is_decision_on(content, decision.client_id, decision.purpose, self._context.catalogue)
        return (found.id, found.version) if content["status"] == "active" and ours else None

    async def _next_version(
        self, connection: AsyncConnection, consent_id: str, version: int, decision: ConsentDecision
    ) -> None:
        resource = {**self._resource(decision), "id": consent_id}
        await self._context.repository.update(resource, expected_version=version, connection=connection)
        await announce(connection, "consent", decision.patient)

    async def _tell(self, connection: AsyncConnection, decision: ConsentDecision, kind: SharingKind) -> None:
        notices, now = self._context.notices, self._context.clock()
        await notices.about_sharing(connection, decision.patient, kind, decision.client_id, now)

    def _decision(
        self, request: PendingRequest, account: Account, choice: Choice, now: datetime, status: str
    ) -> ConsentDecision:
        patient = request.patient_id or ""
        return ConsentDecision(
            patient=patient,
            performer=_performer(account, patient),
            performer_name=account.display_name,
            client_id=request.client.client_id,
            client_name=request.client.name,
            purpose=request.purpose,
            asked=choice.asked,
            granted=choice.categories,
            starts=now,
            ends=choice.ends,
            text=choice.text,
            writes=choice.writes,
            status=status,
        )

    def _resource(self, decision: ConsentDecision) -> dict[str, object]:
        """The decision as a Consent, checked by another implementation before it is kept. Raises InvalidResource."""
        resource = consent_resource(decision, self._context.catalogue)
        check_consent(resource)
        return resource

    async def _record(
        self,
        connection: AsyncConnection,
        kind: Any,
        request_id: str,
        client: Any,
        account: Account,
        patient: str | None,
        consent_id: str | None,
        outcome: Any = "0",
        action: Any = "C",
    ) -> None:
        await self._context.audit.record(
            AuditRecord(
                kind=kind,
                action=action,
                outcome=outcome,
                recorded=self._context.clock(),
                request_id=request_id,
                client_id=None if client is None else client.client_id,
                client_name=None if client is None else client.name,
                user=account.fhir_user,
                patient=patient,
                entities=() if consent_id is None else (f"Consent/{consent_id}",),
            ),
            connection,
        )


def may_decide(request: PendingRequest, account: Account) -> bool:
    """Whether somebody may decide on a request, for the patient in context or, without one, for themselves."""
    mine = request.patient_id is None or any(p.patient_id == request.patient_id for p in account.acts_for)
    return mine and request.is_for(account.fhir_user)


async def keep_text(connection: AsyncConnection, text: PolicyText, now: datetime) -> None:
    """The text as it was shown, once for each hash, never changed."""
    row = {n: getattr(text, n) for n in ("sha256", "uri", "version", "language", "text")}
    await connection.execute(insert(tables.policy_text).values(**row, created_at=now).on_conflict_do_nothing())


async def end_consent(
    connection: AsyncConnection,
    repository: Repository,
    consent_id: str,
    now: datetime,
    notices: Notices = NO_NOTICES,
) -> Ended:
    """End a consent and every grant that hangs on it, and announce it; the caller records it. Raises NotCurrent."""
    found = await repository.read("Consent", consent_id, connection)
    if found is None or found.deleted:
        raise NotCurrent
    patient = _patient_of(msgspec.json.decode(found.body))
    await hold_standing(connection, patient)
    # Who waited for another change starts from what it left.
    found = await repository.read("Consent", consent_id, connection)
    if found is None or found.deleted:
        raise NotCurrent
    current: dict[str, Any] = msgspec.json.decode(found.body, type=dict[str, Any])
    if current["status"] == "active":
        ended = {**current, "status": "inactive"}
        await repository.update(ended, expected_version=None, connection=connection)
        await announce(connection, "consent", patient)
        await notices.about_sharing(connection, patient, "consent-ended", app_named_in(current), now)
    return Ended(patient, await end_grants(connection, current, now))


async def end_grants(connection: AsyncConnection, consent: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """End every grant that hangs on a consent, given as it was while it held. Returns their ids."""
    hangs_on = _hangs_on(consent["id"], _patient_of(consent), consent.get("provision", {}))
    return tuple(await revoke_grants(connection, now, hangs_on))


def _patient_of(consent: Mapping[str, Any]) -> str:
    return read_consent(consent).patient


def _hangs_on(consent_id: str, patient: str, provision: Mapping[str, Any]) -> ColumnElement[bool]:
    """Grants made with the consent, and those of clinicians that hung on it among others."""
    g = tables.grant.c
    standing = [g.standing, g.patient_id == patient]
    named = []
    if "actor" in provision:
        named = [actor.get("reference", {}).get("identifier", {}) for actor in provision["actor"]]
    if named and all(name.get("system") == CLIENT_SYSTEM for name in named):  # a person or a group may use any app
        standing.append(g.client_id.in_([str(name.get("value", "")) for name in named]))
    if "purpose" in provision:
        standing.append(g.purpose.in_([str(purpose.get("code", "")) for purpose in provision["purpose"]]))
    return or_(g.consent_id == consent_id, and_(*standing))


def _performer(account: Account, patient: str) -> str:
    """Who consents: the patient, or the person who acts for them (FHIR R4 Consent.performer)."""
    return account.fhir_user or f"Patient/{patient}"
