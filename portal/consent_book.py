"""Patients' decisions as the pages see them: the port `ConsentBook` on `authz.consents.decisions` and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import msgspec
from structlog.contextvars import get_contextvars

from authz.clients.clients import find_client
from authz.consents.decisions import AlreadyDecided, Choice, Decisions, NotCurrent, may_decide
from authz.consents.proposed_consents import Answer, NotUsable, Proposals
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from fhir.consents.summary import ConsentSummary, can_be_answered, summary_of
from fhir.consents.writing import PolicyText
from fhir.r4.instants import instant_of
from fhir.store.repository import StoredResource, VersionConflict
from portal.patient_search import PatientSearch
from portal.pending_requests import PendingRequests
from portal.ports import CURRENT_STATES, AuthorizationRequest, ConsentChoice, ConsentEnded, NotOffered, SharedWith

_MOST_ACTIVE: Final = 500
_MOST_ENDED: Final = 200
_ENDED: Final = "draft,proposed,rejected,inactive"
_NEWEST: Final = ("_sort", "-_lastUpdated")
_PAGE: Final = 100


class PatientsConsentBook:
    """Makes, changes, ends and lists consents."""

    def __init__(self, context: AuthzContext, requests: PendingRequests) -> None:
        self._context = context
        self._requests = requests
        self._decisions = Decisions(context)
        self._proposals = Proposals(context)
        self._search = PatientSearch(context.repository)

    async def grant(self, request: AuthorizationRequest, session: SignedInSession, choice: ConsentChoice) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None or not may_decide(pending, session.account):
            raise AlreadyDecided
        made = Choice(choice.categories, request.asked, choice.until, choice.policy, choice.writes)
        who, when = session.account, session.auth_time
        return await self._decisions.allow(pending, who, when, made, _request_id(), session.methods)

    async def refuse(self, request: AuthorizationRequest, session: SignedInSession, shown: PolicyText) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            raise AlreadyDecided
        return await self._decisions.refuse(pending, session.account, request.asked, shown, _request_id())

    async def find(self, consent_id: str) -> SharedWith | None:
        """As the port."""
        found = await self._context.repository.read("Consent", consent_id)
        shared = None if found is None or found.deleted else self._shared(found)
        return shared if shared is None else await self.as_registered(shared)

    async def as_registered(self, shared: SharedWith) -> SharedWith:
        """A proposal with the name under which its app is registered: whoever proposed it may call it anything."""
        if not shared.can_be_answered:
            return shared
        async with self._context.engine.connect() as connection:
            client = await find_client(connection, shared.client_id)
        return shared if client is None else replace(shared, app_name=client.name)

    async def change(self, consent_id: str, choice: ConsentChoice, by: SignedInSession) -> None:
        """As the port."""
        current = await self.find(consent_id)
        if current is None:
            raise ConsentEnded
        made = Choice(choice.categories, current.asked, choice.until, choice.policy, choice.writes)
        try:
            await self._decisions.change(consent_id, by.account, made, _request_id())
        except (NotCurrent, VersionConflict) as ended:
            raise ConsentEnded from ended

    async def answer(
        self, proposed: SharedWith, choice: ConsentChoice | None, shown: PolicyText, by: SignedInSession
    ) -> None:
        """As the port."""
        asked = tuple(code for code in proposed.proposed if code in self._context.catalogue.categories)
        made = Choice((), asked, None, shown)
        if choice is not None:
            made = Choice(choice.categories, asked, choice.until, choice.policy, choice.writes)
        answer = Answer(proposed.consent_id, proposed.version, made, allowed=choice is not None)
        try:
            await self._proposals.answer(answer, by.account, _request_id())
        except (NotCurrent, VersionConflict) as ended:
            raise ConsentEnded from ended
        except NotUsable as unusable:
            raise NotOffered from unusable

    async def revoke(self, consent_id: str, by: SignedInSession) -> None:
        """As the port."""
        try:
            await self._decisions.revoke(consent_id, by.account, _request_id())
        except (NotCurrent, VersionConflict) as ended:
            raise ConsentEnded from ended

    async def revoke_all(self, patient_id: str, by: SignedInSession) -> None:
        """As the port. One that somebody else ends meanwhile has ended too."""
        active = self._search.every("Consent", patient_id, (("status", "active"),), _PAGE)
        found = [(stored.id, self._shared(stored)) async for stored in active]
        current = [id for id, shared in found if shared is not None and shared.can_be_revoked]
        for consent_id in current:
            with suppress(ConsentEnded):
                await self.revoke(consent_id, by)

    async def sharing(self, patient_id: str) -> Sequence[SharedWith]:
        """As the port."""
        uses = await self._context.audit.uses(patient_id)
        return [shared.used(uses.get(shared.client_id)) for shared in await self._consents(patient_id)]

    async def _consents(self, patient_id: str) -> Sequence[SharedWith]:
        """What counts now first, so that no crowd of ended ones hides it."""
        found = [
            *(await self._search.page("Consent", patient_id, (("status", "active"), _NEWEST), _MOST_ACTIVE)).matches,
            *(await self._search.page("Consent", patient_id, (("status", _ENDED), _NEWEST), _MOST_ENDED)).matches,
        ]
        return [shared for stored in found if (shared := self._shared(stored)) is not None]

    def _shared(self, stored: StoredResource) -> SharedWith | None:
        consent: Mapping[str, Any] = msgspec.json.decode(stored.body)
        now = self._context.clock()
        found = summary_of(consent, self._context.catalogue, now)
        if consent["status"] == "entered-in-error":
            return None  # it never was
        ended = found.until if found.state == "expired" else stored.last_updated
        return SharedWith(
            consent_id=stored.id,
            patient_id=found.patient,
            client_id=found.grantee,
            app_name=found.grantee_name,
            categories=found.categories,
            asked=found.asked,
            purpose=found.purpose,
            since=instant_of(consent.get("dateTime"), end=False) or stored.last_updated,
            until=found.until,
            state=found.state,
            is_app=found.is_app,
            permits=found.permits,
            plain=found.plain,
            sees=found.sees,
            recorded_by=found.recorded_by,
            ended=None if found.state in CURRENT_STATES else ended,
            writes=found.writes,
            version=stored.version,
            can_be_answered=can_be_answered(consent, self._context.catalogue, now) and self._offers_something(found),
        )

    def _offers_something(self, proposed: ConsentSummary) -> bool:
        everyday = {category.code for category in self._context.catalogue.everyday}
        return not everyday.isdisjoint(proposed.asked or proposed.categories) and (
            self._context.writes or not proposed.writes
        )


def _request_id() -> str:
    return str(get_contextvars().get("request_id", ""))
