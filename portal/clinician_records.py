"""Records that clinicians may open with an app: the port `ClinicianRecords` on `authz.consents.clinician_access`."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.contextvars import get_contextvars

from authz.consents.clinician_access import ClinicianAccess, NotShared, SharedRecord
from authz.consents.decisions import AlreadyDecided
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from portal.pending_requests import PendingRequests
from portal.ports import AuthorizationRequest, OpenRecord


class SharedRecords:
    """Finds, chooses and opens them."""

    def __init__(self, context: AuthzContext, requests: PendingRequests) -> None:
        self._catalogue = context.catalogue
        self._requests = requests
        self._access = ClinicianAccess(context)

    async def record(
        self, request: AuthorizationRequest, session: SignedInSession, patient_id: str
    ) -> OpenRecord | None:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        found = None if pending is None else await self._access.record(pending, session.account, patient_id)
        return None if found is None else self._as_page_sees(found, request)

    async def records(self, request: AuthorizationRequest, session: SignedInSession, name: str) -> Sequence[OpenRecord]:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            return ()
        return [
            self._as_page_sees(found, request) for found in await self._access.records(pending, session.account, name)
        ]

    async def choose(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str) -> None:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            raise NotShared
        await self._access.choose(pending, session.account, patient_id)

    async def grant(self, request: AuthorizationRequest, session: SignedInSession) -> str:
        """As the port."""
        pending = await self._requests.pending(request.id, session)
        if pending is None:
            raise AlreadyDecided
        request_id = str(get_contextvars().get("request_id", ""))
        return await self._access.allow(pending, session.account, session.auth_time, request_id, session.methods)

    def _as_page_sees(self, found: SharedRecord, request: AuthorizationRequest) -> OpenRecord:
        shared = self._catalogue.common((c.code for c in found.standing.categories), request.asked)
        return OpenRecord(found.patient_id, found.patient_name, shared)
