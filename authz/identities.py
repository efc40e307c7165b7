"""Which account an identity at a provider stands for: one that the operator linked, or whose username it proves.

An identity is an issuer and a subject (OpenID Connect Core §5.7: nothing else is stable). An account has one at each
issuer, and whoever was once recognized by a username is known by the subject from then on: a name that is given to
somebody else later doesn't open the account.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.accounts import find_by_username, load_account, normalized_username

MAX_SUBJECT = 255


class LinkRefused(ValueError):
    """An identity that can't be linked; the text says why."""


async def link_identity(connection: AsyncConnection, username: str, issuer: str, subject: str, now: datetime) -> None:
    """Let this identity sign in to the account. Raises LinkRefused."""
    if not subject or len(subject) > MAX_SUBJECT or not (subject.isascii() and subject.isprintable()):
        raise LinkRefused(f"a subject has 1 to {MAX_SUBJECT} printable ASCII characters")
    found = await find_by_username(connection, username)
    if found is None:
        raise LinkRefused(f"there is nobody called `{username}`")
    if not await _insert(connection, found[0], issuer, subject, now):
        raise LinkRefused("the subject is linked to an account already, or the account to a subject of this issuer")


async def unlink_identity(connection: AsyncConnection, username: str, issuer: str) -> None:
    """End what the account's identity at this issuer may do, and the account's sessions. Raises LinkRefused."""
    found = await find_by_username(connection, username)
    i = tables.identity
    gone = None
    if found is not None:
        gone = await connection.execute(delete(i).where(i.c.user_id == found[0], i.c.issuer == issuer))
    if found is None or gone is None or not gone.rowcount:
        raise LinkRefused(f"`{username}` isn't linked to a subject of this issuer")
    await connection.execute(delete(tables.session).where(tables.session.c.user_id == found[0]))


async def linked_account(connection: AsyncConnection, issuer: str, subject: str) -> str | None:
    """Id of the account that this identity is linked to."""
    i = tables.identity.c
    row = (await connection.execute(select(i.user_id).where(i.issuer == issuer, i.subject == subject))).first()
    return None if row is None else str(row.user_id)


async def account_named(
    connection: AsyncConnection, issuer: str, subject: str, username: str, now: datetime
) -> str | None:
    """Id of the account with this very username, which is linked from now on; None when there is none such.

    None also when it is linked to another subject of the issuer, and for operators: they are linked by name only.
    """
    if not username.isascii() or len(username) > 100 or normalized_username(username) != username.lower():
        return None
    found = await find_by_username(connection, username)
    account = None if found is None else await load_account(connection, found[0])
    if account is None or account.role == "operator":
        return None
    return account.id if await _insert(connection, account.id, issuer, subject, now) else None


async def _insert(connection: AsyncConnection, account_id: str, issuer: str, subject: str, now: datetime) -> bool:
    new = insert(tables.identity).values(issuer=issuer, subject=subject, user_id=account_id, created_at=now)
    made = await connection.execute(new.on_conflict_do_nothing())
    return bool(made.rowcount)
