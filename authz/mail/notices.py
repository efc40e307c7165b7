"""What people are told by e-mail: which acts, whom, and the letters that wait, written with the act they tell of.

A letter never says what is shared; it says that something happened and where to look. Whose address is confirmed gets
one. What is about security or an emergency is always told; the rest, unless the person switched it off. The bound on
the table keeps some room for what is always told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.mail.tables import mail_address, mail_outbox
from authz.tables import user_patient
from policies.codes import CLIENT_SYSTEM

SharingKind = Literal["consent-asked", "consent-given", "consent-changed", "consent-ended", "sharing-ends"]
"""What somebody may switch off."""
SecurityKind = Literal[
    "passkey-added",
    "passkey-removed",
    "password-changed",
    "sign-in-linked",
    "sign-in-unlinked",
    "address-changed",
    "address-removed",
    "confirm-address",
]
Kind = SharingKind | SecurityKind | Literal["emergency"]

MOST_WAITING: Final = 10_000
"""Letters in the table; what comes beyond isn't written down. INVARIANT: no act fails because of its letter."""
_RESERVED: Final = 1_000
"""Room that only what is always told may use."""
SETTLE: Final = timedelta(seconds=30)
"""How long a letter about sharing waits, so that several changes in a row are one letter."""


class Notices:
    """Writes letters. INVARIANT: before the audit record of the act, so that all transactions lock in one order."""

    def __init__(self, *, on: bool, settle: timedelta = SETTLE) -> None:
        """`on`: whether this installation sends e-mail."""
        self._on = on
        self._settle = settle

    async def about_sharing(
        self, connection: AsyncConnection, patient_id: str, kind: SharingKind, client_id: str, now: datetime
    ) -> None:
        """Tell the patient and whoever decides for them. `client_id` is the app's, empty when it is about no app."""
        wanted = self._letters_about(patient_id, kind, client_id, now, now + self._settle)
        await self._write(connection, wanted.where(mail_address.c.sharing), MOST_WAITING - _RESERVED)

    async def about_emergency(
        self, connection: AsyncConnection, patient_id: str, client_id: str, now: datetime
    ) -> None:
        """Tell the patient, and whoever decides for them, that their record was opened without asking."""
        await self._write(connection, self._letters_about(patient_id, "emergency", client_id, now, now), MOST_WAITING)

    async def to_account(
        self, connection: AsyncConnection, user_id: str, kind: SecurityKind, now: datetime, recipient: str | None = None
    ) -> None:
        """Tell one person, at `recipient` where it isn't the confirmed address."""
        a = mail_address.c
        to = a.address if recipient is None else literal(recipient)
        letter = select(*_row(kind, to, "", literal(""), literal(value=True), now, now))
        await self._write(connection, letter.where(a.user_id == user_id, to.is_not(None)), MOST_WAITING)

    def _letters_about(
        self, patient_id: str, kind: Kind, client_id: str, now: datetime, send_at: datetime
    ) -> Select[Any]:
        a, p = mail_address.c, user_patient.c
        columns = _row(kind, a.address, client_id, p.patient_id, p.own, now, send_at)
        return (
            select(*columns)
            .join_from(user_patient, mail_address, a.user_id == p.user_id)
            .where(p.patient_id == patient_id, a.address.is_not(None))
        )

    async def _write(self, connection: AsyncConnection, letters: Select[Any], most: int) -> None:
        if not self._on:
            return
        waiting = select(func.count()).select_from(mail_outbox).scalar_subquery()
        # Always in one order, so that two transactions that tell the same people don't wait for each other.
        rows = letters.where(waiting < most).order_by(mail_address.c.user_id)
        await connection.execute(insert(mail_outbox).from_select(_COLUMNS, rows).on_conflict_do_nothing())


NO_NOTICES: Final = Notices(on=False)
"""Where no e-mail is sent."""

_COLUMNS: Final = (
    *("user_id", "kind", "recipient", "language", "client_id", "patient_id", "own", "created_at", "next_try_at"),
)


def _row(
    kind: Kind, recipient: Any, client_id: str, patient_id: Any, own: Any, now: datetime, send_at: datetime
) -> tuple[Any, ...]:
    a = mail_address.c
    moments = (literal(now), literal(send_at))
    return (a.user_id, literal(kind), recipient, a.language, literal(client_id), patient_id, own, *moments)


def change_told(before: str | None, after: str | None) -> SharingKind | None:
    """What a change of a Consent's status is to its patient; None for what isn't told. None stands for no version."""
    if after == "active":
        return "consent-changed" if before == "active" else "consent-given"
    if before == "active":
        return "consent-ended"
    return "consent-asked" if after == "proposed" and before != "proposed" else None


def app_named_in(consent: Mapping[str, Any]) -> str:
    """The client_id of the app that a Consent is about; empty when it is about none, or about several.

    Never raises: a consent of whatever shape can be ended.
    """
    match consent.get("provision"):
        case {"actor": [{"reference": {"identifier": {"system": system, "value": str(client_id)}}}]}:
            return client_id if system == CLIENT_SYSTEM and client_id.isprintable() and len(client_id) <= 200 else ""
        case _:
            return ""
