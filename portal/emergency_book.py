"""Emergency accesses: the port `EmergencyBook` on top of `authz.consents.emergency_access` and the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from structlog.contextvars import get_contextvars

from authz.consents.decisions import AlreadyDecided
from authz.consents.emergency_access import EmergencyAccess, EmergencyUse
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from fhir.audit.event import CATEGORY_DETAIL, CLIENT_SYSTEM
from fhir.r4.instants import instant_of
from policies.purpose_of_use import BREAK_GLASS
from portal.activity import user_in
from portal.emergency_ports import OpenedInEmergency
from portal.patient_search import PatientSearch
from portal.pending_requests import PendingRequests
from portal.ports import AuthorizationRequest

_MOST_LOOKS: Final = 500
"""AuditEvents from which it is told what was looked at."""
_LOOKS: Final = ("read", "search")


class StoredEmergencies:
    """Opens, lists, reviews and ends them."""

    def __init__(self, context: AuthzContext, requests: PendingRequests) -> None:
        self._context = context
        self._requests = requests
        self._use = EmergencyUse(context)
        self._search = PatientSearch(context.repository)

    @property
    def lasts(self) -> timedelta:
        """As the port."""
        return self._context.lifetimes.emergency or timedelta()

    async def may_ask(self, request: AuthorizationRequest, session: SignedInSession) -> bool:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        return pending is not None and self._use.may_ask(pending, session.account)

    async def open(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str, reason: str) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            raise AlreadyDecided
        return await self._use.open(
            pending, session.account, patient_id, reason, session.auth_time, _request_id(), session.methods
        )

    async def about(self, patient_id: str) -> Sequence[OpenedInEmergency]:
        """As the port."""
        return [await self._told(access) for access in await self._use.about(patient_id)]

    async def newest(self) -> Sequence[OpenedInEmergency]:
        """As the port."""
        return [await self._told(access) for access in await self._use.newest()]

    async def unreviewed(self) -> int:
        """As the port."""
        return await self._use.unreviewed()

    async def review(self, access_id: str, note: str, by: SignedInSession) -> bool:
        """As the port."""
        return await self._use.review(access_id, note, by.account, _request_id())

    async def end(self, access_id: str, by: SignedInSession) -> bool:
        """As the port."""
        return await self._use.end(access_id, by.account, _request_id())

    async def _told(self, access: EmergencyAccess) -> OpenedInEmergency:
        events = await self._looks(access)
        details = (
            detail for event in events for entity in event.get("entity", ()) for detail in entity.get("detail", ())
        )
        seen = {d.get("valueString", "") for d in details if d.get("type") == CATEGORY_DETAIL}
        return OpenedInEmergency(
            id=access.grant_id,
            app_name=access.client_name,
            user_name=access.user_name,
            patient_id=access.patient_id,
            reason=access.reason,
            since=access.opened_at,
            until=access.ends_at,
            running=access.ends_at > self._context.clock(),
            looks=len(events),
            categories=tuple(sorted(seen - self._context.catalogue.always)),
            reviewed_at=access.reviewed_at,
            reviewed_by=access.reviewed_by,
            review_note=access.review_note,
        )

    async def _looks(self, access: EmergencyAccess) -> Sequence[Mapping[str, Any]]:
        """Reads and searches of this person, with this app, for break-glass while it was open.

        The search knows seconds, so what was looked at just before it was opened is sorted out afterwards.
        """
        await self._context.audit.settle(access.patient_id)
        conditions = (
            ("date", f"ge{access.opened_at.isoformat(timespec='seconds')}"),
            ("date", f"le{(access.ends_at + timedelta(seconds=1)).isoformat(timespec='seconds')}"),
            ("agent", access.fhir_user),
            ("subtype", ",".join(_LOOKS)),
            ("outcome", "0"),
        )
        page = await self._search.page("AuditEvent", access.patient_id, conditions, _MOST_LOOKS)
        events = [msgspec.json.decode(stored.body) for stored in page.matches]
        return [event for event in events if _is_of(access, event)]


def _is_of(access: EmergencyAccess, event: Mapping[str, Any]) -> bool:
    recorded = instant_of(event.get("recorded"), end=False)
    opened_at = access.opened_at.replace(microsecond=access.opened_at.microsecond // 1000 * 1000)  # as events have it
    return (
        user_in(event) == access.fhir_user
        and BREAK_GLASS in _purposes(event)
        and access.client_id in _apps(event)
        and recorded is not None
        and opened_at <= recorded
    )


def _apps(event: Mapping[str, Any]) -> set[str]:
    named = (agent.get("who", {}).get("identifier", {}) for agent in event.get("agent", ()))
    return {str(who.get("value")) for who in named if who.get("system") == CLIENT_SYSTEM}


def _purposes(event: Mapping[str, Any]) -> set[str]:
    return {str(c.get("code")) for purpose in event.get("purposeOfEvent", ()) for c in purpose.get("coding", ())}


def _request_id() -> str:
    return str(get_contextvars().get("request_id", ""))
