"""People who can sign in, and on whose behalf each may decide."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables

ROLES = ("patient", "representative", "clinician", "operator", "developer")
_FHIR_USER: Final = re.compile(
    r"(Patient|Practitioner|PractitionerRole|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}", re.ASCII
)
"""SMART 2.2, identity data: the types that `fhirUser` may have."""


@dataclass(frozen=True, slots=True)
class ActsFor:
    """A patient on whose behalf somebody may decide."""

    patient_id: str
    patient_name: str
    own: bool


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in."""

    id: str
    username: str
    display_name: str
    fhir_user: str | None
    role: str
    acts_for: tuple[ActsFor, ...] = ()

    @property
    def is_clinician(self) -> bool:
        """Staff whom FHIR knows as a practitioner; a role without that isn't enough, nor the other way round."""
        return self.role == "clinician" and (self.fhir_user or "").startswith(("Practitioner/", "PractitionerRole/"))


class AccountExists(ValueError):
    """The username is taken."""


async def add_account(connection: AsyncConnection, account: Account, password_hash: str, now: datetime) -> Account:
    """Add somebody; the id is made here. Raises AccountExists, ValueError."""
    username = normalized_username(account.username)
    if account.role not in ROLES or not username:
        raise ValueError(f"a username and one of the roles {', '.join(ROLES)} are needed")
    if account.fhir_user is not None and not _FHIR_USER.fullmatch(account.fhir_user):
        raise ValueError(
            "`fhirUser` is like `Patient/p1`: a patient, practitioner, practitioner role or related person"
        )
    taken = await connection.execute(select(tables.user_account.c.id).where(tables.user_account.c.username == username))
    if taken.first() is not None:
        raise AccountExists(f"the username `{username}` is taken")
    account_id = str(uuid.uuid4())
    await connection.execute(
        insert(tables.user_account).values(
            id=account_id,
            username=username,
            password_hash=password_hash,
            display_name=account.display_name,
            fhir_user=account.fhir_user,
            role=account.role,
            created_at=now,
        )
    )
    await set_acts_for(connection, account_id, account.acts_for)
    return Account(account_id, username, account.display_name, account.fhir_user, account.role, account.acts_for)


async def change_password(connection: AsyncConnection, account_id: str, password_hash: str) -> None:
    """Replace the password, and end the account's sessions."""
    u, s = tables.user_account, tables.session
    await connection.execute(update(u).where(u.c.id == account_id).values(password_hash=password_hash))
    await connection.execute(delete(s).where(s.c.user_id == account_id))


async def set_acts_for(connection: AsyncConnection, account_id: str, patients: Sequence[ActsFor]) -> None:
    """Replace the patients on whose behalf an account may decide."""
    await connection.execute(delete(tables.user_patient).where(tables.user_patient.c.user_id == account_id))
    for patient in patients:
        await connection.execute(
            insert(tables.user_patient).values(
                user_id=account_id,
                patient_id=patient.patient_id,
                patient_name=patient.patient_name,
                own=patient.own,
            )
        )


def normalized_username(username: str) -> str:
    """The form in which usernames are stored and compared."""
    return username.strip().casefold()[:100]


async def find_by_username(connection: AsyncConnection, username: str) -> tuple[str, str] | None:
    """Account id and password hash; None when there is no such name."""
    name = normalized_username(username)
    if not name or "\x00" in name:
        return None
    c = tables.user_account.c
    row = (await connection.execute(select(c.id, c.password_hash).where(c.username == name))).first()
    return None if row is None else (row.id, row.password_hash)


async def load_account(connection: AsyncConnection, account_id: str) -> Account | None:
    """An account with the patients it may decide for."""
    c = tables.user_account.c
    row = (await connection.execute(select(tables.user_account).where(c.id == account_id))).first()
    if row is None:
        return None
    p = tables.user_patient.c
    rows = await connection.execute(
        select(tables.user_patient).where(p.user_id == account_id).order_by(p.own.desc(), p.patient_name, p.patient_id)
    )
    acts_for = tuple(ActsFor(r.patient_id, r.patient_name, r.own) for r in rows)
    return Account(row.id, row.username, row.display_name, row.fhir_user, row.role, acts_for)


async def names_of(connection: AsyncConnection, fhir_users: Collection[str]) -> Mapping[str, str]:
    """Names of people by their fhirUser; who has no account here is left out."""
    c = tables.user_account.c
    rows = await connection.execute(select(c.fhir_user, c.display_name).where(c.fhir_user.in_(fhir_users)))
    return {row.fhir_user: row.display_name for row in rows}


async def list_accounts(connection: AsyncConnection) -> Sequence[Account]:
    """All accounts, by username, without the patients."""
    rows = await connection.execute(select(tables.user_account).order_by(tables.user_account.c.username))
    return [Account(r.id, r.username, r.display_name, r.fhir_user, r.role) for r in rows]
