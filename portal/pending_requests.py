"""Authorization requests as the pages see them: the port `AuthorizationRequests` on top of `authz`."""

from __future__ import annotations

from dataclasses import replace

from authz.authorize.requests import PendingRequest, choose_patient, find_request, reopen_request
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from fhir.r4.interaction import NOT_WRITTEN
from policies.catalogue import Catalogue
from policies.model import WRITE_ACTIONS, Scope
from portal.ports import AuthorizationRequest
from smart.app_state import apart
from smart.scope_intersection import intersection
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
    return AuthorizationRequest(
        id=handle,
        app_name=pending.client.name,
        redirect_uri=pending.redirect_uri,
        purpose=pending.purpose,
        asked=asked_categories(pending.scope, context.catalogue, writes=context.writes),
        writes=asked_writes(pending.scope, context.catalogue) if context.writes else "",
        identity=bool({"openid", "fhirUser", "profile"} & set(session)),
        offline="offline_access" in session,
        needs_patient=bool(records) or "launch/patient" in session or "patient" in launch,
        patient_id=pending.patient_id,
        patient_given="patient" in launch,
        user=launch.get("user"),
        signed_in_since=pending.signed_in_since,
        keeps=frozenset(scope.context for scope in state),
    )


def asked_categories(scope: str, catalogue: Catalogue, *, writes: bool = False) -> tuple[str, ...]:
    """Categories that the asked scopes touch; sensitive ones cut across, so any clinical scope may touch them.

    `writes`: whether scopes that only write count, as where apps may write.
    """
    _, clinical, _ = split_scope(scope)
    letters = "cruds" if writes else "rs"
    everyday = [
        category.code
        for category in catalogue.everyday
        if any(_touches(asked, line, letters) for asked in clinical for line in category.scopes)
    ]
    return (*everyday, *(c.code for c in catalogue.sensitive)) if everyday else ()


def asked_writes(scope: str, catalogue: Catalogue) -> str:
    """Which of the letters `c`, `u` and `d` the asked scopes have for something that apps write."""
    _, clinical, _ = split_scope(scope)
    lines = [line for c in catalogue.everyday for line in c.scopes if line.resource_type not in NOT_WRITTEN]
    return "".join(
        letter
        for letter in WRITE_ACTIONS
        if any(letter in asked.permissions and _touches(asked, line, letter) for asked in clinical for line in lines)
    )


def _touches(asked: Scope, line: Scope, letters: str) -> bool:
    """Whether they have one of the letters in common; of what no app writes, only what is read counts."""
    if line.resource_type in NOT_WRITTEN:
        letters = "rs"
    return intersection(asked, replace(line, permissions=letters)) is not None
