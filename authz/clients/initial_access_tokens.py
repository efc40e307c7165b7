"""Initial access tokens: who holds one may register an app where registration isn't open (RFC 7591 §3)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.opaque_secret import hash_of, new_secret


async def create_initial_token(connection: AsyncConnection, *, uses: int, lifetime: timedelta, now: datetime) -> str:
    """A token for so many registrations; only its hash is kept. Those that have expired go."""
    token, table = new_secret(), tables.initial_access_token
    await connection.execute(delete(table).where(table.c.expires_at <= now))
    row = {"token_hash": hash_of(token), "uses_left": uses, "created_at": now, "expires_at": now + lifetime}
    await connection.execute(insert(table).values(**row))
    return token


async def use_initial_token(connection: AsyncConnection, token: str, now: datetime) -> bool:
    """Take one use; given back when the transaction fails. False for a token that is unknown, expired or used up."""
    t = tables.initial_access_token.c
    taken = await connection.execute(
        update(tables.initial_access_token)
        .where(t.token_hash == hash_of(token), t.expires_at > now, t.uses_left > 0)
        .values(uses_left=t.uses_left - 1)
    )
    return taken.rowcount == 1
