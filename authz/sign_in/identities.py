"""Which account an identity at a provider stands for: the operator linked it, or somebody who knows the password did.

An identity is an issuer and a subject (OpenID Connect Core §5.7: nothing else is stable). Names and e-mail addresses
are not looked at: whoever is given somebody's old address must not be given their account. An account has one identity
at each issuer.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.mail.notices import NO_NOTICES, Notices
from authz.sign_in.accounts import find_by_username

MAX_SUBJECT = 255


class LinkRefused(ValueError):
    """An identity that can't be linked; the text says why."""


async def link_identity(
    connection: AsyncConnection,
    username: str,
    issuer: str,
    subject: str,
    now: datetime,
    notices: Notices = NO_NOTICES,
) -> None:
    """Let this identity sign in to the account. Raises LinkRefused."""
    if not subject or len(subject) > MAX_SUBJECT or not (subject.isascii() and subject.isprintable()):
        raise LinkRefused(f"a subject has 1 to {MAX_SUBJECT} printable ASCII characters")
    found = await find_by_username(connection, username)
    if found is None:
        raise LinkRefused(f"there is nobody called `{username}`")
    if not await link_account(connection, found[0], issuer, subject, now, notices):
        raise LinkRefused("the subject is linked to an account already, or the account to a subject of this issuer")


async def unlink_identity(
    connection: AsyncConnection, username: str, issuer: str, now: datetime, notices: Notices = NO_NOTICES
) -> None:
    """End what the account's identity at this issuer may do, and the account's sessions. Raises LinkRefused."""
    found = await find_by_username(connection, username)
    i = tables.identity
    gone = None
    if found is not None:
        gone = await connection.execute(delete(i).where(i.c.user_id == found[0], i.c.issuer == issuer))
    if found is None or gone is None or not gone.rowcount:
        raise LinkRefused(f"`{username}` isn't linked to a subject of this issuer")
    await connection.execute(delete(tables.session).where(tables.session.c.user_id == found[0]))
    await notices.to_account(connection, found[0], "sign-in-unlinked", now)


async def linked_account(connection: AsyncConnection, issuer: str, subject: str) -> str | None:
    """Id of the account that this identity is linked to."""
    i = tables.identity.c
    row = (await connection.execute(select(i.user_id).where(i.issuer == issuer, i.subject == subject))).first()
    return None if row is None else str(row.user_id)


async def link_account(
    connection: AsyncConnection,
    account_id: str,
    issuer: str,
    subject: str,
    now: datetime,
    notices: Notices = NO_NOTICES,
) -> bool:
    """Let this identity sign in to the account; False when either is linked already."""
    new = insert(tables.identity).values(issuer=issuer, subject=subject, user_id=account_id, created_at=now)
    made = await connection.execute(new.on_conflict_do_nothing())
    if made.rowcount:
        await notices.to_account(connection, account_id, "sign-in-linked", now)
    return bool(made.rowcount)
