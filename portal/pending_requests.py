"""Authorization requests as the pages see them: the port `AuthorizationRequests` on top of `authz`."""

from __future__ import annotations

from authz.authorize.asked_categories import asked_categories, asked_writes
from authz.authorize.consent_details import ConsentDetails
from authz.authorize.requests import PendingRequest, choose_patient, find_request, reopen_request
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from portal.ports import AuthorizationRequest
from smart.app_state import apart
from smart.scope_syntax import split_scope


class PendingRequests:
    """Finds requests by the handle in the page's address."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def find(self, request_id: str, session: SignedInSession | None) -> AuthorizationRequest | None:
        """As the port."""
        pending = await self.pending(request_id, session)
        return None if pending is None else _as_page_sees(request_id, pending, self._context)

    async def pending(self, request_id: str, session: SignedInSession | None) -> PendingRequest | None:
        """The request itself."""
        user_id = None if session is None else session.account.id
        async with self._context.engine.begin() as connection:
            now = self._context.clock()
            return await find_request(
                connection, request_id, user_id, now, auth_time=None if session is None else session.auth_time
            )

    async def choose_patient(self, request_id: str, session: SignedInSession, patient_id: str) -> None:
        """As the port; a patient for whom the person may not decide is not taken."""
        if all(patient.patient_id != patient_id for patient in session.account.acts_for):
            return
        async with self._context.engine.begin() as connection:
            now = self._context.clock()
            found = await find_request(connection, request_id, session.account.id, now, auth_time=session.auth_time)
            if found is not None and "patient" not in (found.launch or {}):
                await choose_patient(connection, found, patient_id)

    async def reopen(self, waiting: str, session: SignedInSession) -> str | None:
        """As the port."""
        async with self._context.engine.begin() as connection:
            return await reopen_request(connection, waiting, session.account.id, self._context.clock())


def _as_page_sees(handle: str, pending: PendingRequest, context: AuthzContext) -> AuthorizationRequest:
    session, clinical, _ = split_scope(pending.scope)
    launch = pending.launch or {}
    records, state = apart(clinical)
    details = pending.details
    touched = asked_categories(pending.scope, context.catalogue, writes=context.writes)
    asked = touched if details is None else context.catalogue.common(touched, details.categories)
    return AuthorizationRequest(
        id=handle,
        app_name=pending.client.name,
        redirect_uri=pending.redirect_uri,
        purpose=pending.purpose,
        asked=asked,
        writes=asked_writes(pending.scope, context.catalogue, asked) if context.writes else "",
        longest=None if details is None else details.hours,
        identity=bool({"openid", "fhirUser", "profile"} & set(session)),
        offline="offline_access" in session,
        needs_patient=bool(records) or "launch/patient" in session or "patient" in launch,
        patient_id=pending.patient_id,
        patient_given="patient" in launch,
        user=launch.get("user"),
        signed_in_since=pending.signed_in_since,
        own_limits=frozenset() if details is None else _own_limits(details, fewer=asked != touched),
        keeps=frozenset(scope.context for scope in state),
    )


def _own_limits(details: ConsentDetails, *, fewer: bool) -> frozenset[str]:
    """`fewer`: whether the scopes alone would ask for more categories."""
    limits = {"categories": fewer, "duration": details.hours is not None, "purpose": details.names_purpose}
    return frozenset(name for name, holds in limits.items() if holds)
