"""Emergency access, as the pages see it; docs/emergency-access.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from authz.sign_in.sessions import SignedInSession

if TYPE_CHECKING:
    from portal.ports import AuthorizationRequest


@dataclass(frozen=True, slots=True)
class OpenedInEmergency:
    """One access, told to its patient and to operators."""

    id: str
    app_name: str
    user_name: str
    patient_id: str
    reason: str
    since: datetime
    until: datetime
    running: bool
    looks: int
    """How often something was looked at; a bounded number is counted."""
    categories: tuple[str, ...]
    """Codes of what was looked at."""
    reviewed_at: datetime | None
    reviewed_by: str | None
    review_note: str | None


class EmergencyBook(Protocol):
    """Asked for by clinicians, told to patients, reviewed by operators."""

    @property
    def lasts(self) -> timedelta:
        """How long an access lasts; nothing when there is none."""
        ...

    async def may_ask(self, request: AuthorizationRequest, session: SignedInSession) -> bool:
        """Tell whether this person may open a record in an emergency with this app."""
        ...

    async def open(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str, reason: str) -> str:
        """Complete the request, and return the redirect URI with its code.

        Raises NotOffered, UnfitReason, Denied (authz.consents.emergency_access),
        AlreadyDecided (authz.consents.decisions).
        """
        ...

    async def about(self, patient_id: str) -> Sequence[OpenedInEmergency]:
        """Return what was opened of one patient, newest first, a bounded number."""
        ...

    async def newest(self) -> Sequence[OpenedInEmergency]:
        """Return what waits for review, then the rest, a bounded number."""
        ...

    async def unreviewed(self) -> int:
        """Return how many wait for review."""
        ...

    async def review(self, access_id: str, note: str, by: SignedInSession) -> bool:
        """Note that an operator looked at it; False when it doesn't wait. Raises UnfitReason."""
        ...

    async def end(self, access_id: str, by: SignedInSession) -> bool:
        """End it now; False when it has ended."""
        ...
