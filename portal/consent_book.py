"""The decisions of patients as the pages see them: the port `ConsentBook` on top of `authz.decisions` and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from structlog.contextvars import get_contextvars

from authz.accounts import names_of
from authz.context import AuthzContext
from authz.decisions import AlreadyDecided, Choice, Decisions, NotCurrent, may_decide
from authz.sessions import SignedInSession
from fhir.consent_elements import instant_of
from fhir.consent_summary import summary_of
from fhir.consent_writing import PolicyText
from fhir.search_query import parse_search
from fhir.store import StoredResource, VersionConflict
from portal.activity import Names, in_words, user_in
from portal.pending_requests import PendingRequests
from portal.ports import CURRENT_STATES, Activity, AuthorizationRequest, ConsentChoice, ConsentEnded, SharedWith

_MOST_CONSENTS: Final = 500


class PatientsConsentBook:
    """Makes, changes, ends and lists consents."""

    def __init__(self, context: AuthzContext, requests: PendingRequests, text: PolicyText) -> None:
        self._context = context
        self._requests = requests
        self._decisions = Decisions(context)
        self._text = text

    async def grant(self, request: AuthorizationRequest, session: SignedInSession, choice: ConsentChoice) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None or not may_decide(pending, session.account):
            raise AlreadyDecided
        made = Choice(choice.categories, request.asked, choice.until, choice.policy, choice.writes)
        return await self._decisions.allow(pending, session.account, session.auth_time, made, _request_id())

    async def refuse(self, request: AuthorizationRequest, session: SignedInSession) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            raise AlreadyDecided
        return await self._decisions.refuse(pending, session.account, request.asked, self._text, _request_id())

    async def find(self, consent_id: str) -> SharedWith | None:
        """As the port."""
        found = await self._context.repository.read("Consent", consent_id)
        return None if found is None or found.deleted else self._shared(found)

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

    async def revoke(self, consent_id: str, by: SignedInSession) -> None:
        """As the port."""
        try:
            await self._decisions.revoke(consent_id, by.account, _request_id())
        except (NotCurrent, VersionConflict) as ended:
            raise ConsentEnded from ended

    async def sharing(self, patient_id: str) -> Sequence[SharedWith]:
        """As the port."""
        uses = await self._context.audit.uses(patient_id)
        return [shared.used(uses.get(shared.client_id)) for shared in await self._consents(patient_id)]

    async def activity(self, patient_id: str, limit: int) -> Sequence[Activity]:
        """As the port."""
        await self._context.audit.settle(patient_id)
        found = await self._search("AuditEvent", patient_id, "-date", limit)
        events = [msgspec.json.decode(stored.body) for stored in found]
        shared = await self._consents(patient_id)
        async with self._context.engine.connect() as connection:
            people = await names_of(connection, {user for event in events if (user := user_in(event)) is not None})
        names = Names({s.consent_id: s.app_name for s in shared}, {s.client_id: s.app_name for s in shared}, people)
        return [in_words(event, names, self._context.catalogue) for event in events]

    async def _consents(self, patient_id: str) -> Sequence[SharedWith]:
        found = await self._search("Consent", patient_id, "-_lastUpdated", _MOST_CONSENTS)
        return [shared for stored in found if (shared := self._shared(stored)) is not None]

    async def _search(self, kind: str, patient_id: str, sort: str, limit: int) -> Sequence[StoredResource]:
        repository = self._context.repository
        pairs = (("patient", f"Patient/{patient_id}"), ("_sort", sort), ("_count", str(limit)), ("_total", "none"))
        query = parse_search(kind, pairs, repository.definitions, max_count=limit)
        return (await repository.search(query)).matches

    def _shared(self, stored: StoredResource) -> SharedWith | None:
        consent: Mapping[str, Any] = msgspec.json.decode(stored.body)
        now = self._context.clock()
        found = summary_of(consent, [c.code for c in self._context.catalogue.sensitive], now)
        if not found.is_app or consent["status"] == "entered-in-error":
            return None  # not a decision about an app
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
            ended=None if found.state in CURRENT_STATES else ended,
            writes=found.writes,
        )


def _request_id() -> str:
    return str(get_contextvars().get("request_id", ""))
