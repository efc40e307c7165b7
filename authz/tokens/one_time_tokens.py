"""Codes and refresh tokens: found with their grant, and taken once, in whichever process (RFC 6749 §4.1.2, §6).

Taking one, and keeping the refresh token that comes in its place (RFC 9700 §4.14.2), is one statement: of two requests
that send the same, one finds nothing to take.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, DateTime, Table, Text, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningUpdate

from authz import tables
from authz.opaque_secret import hash_of, new_secret
from authz.tokens.grants import Grant, grant_from_row, grant_rows
from fhir.store.prepared_statement import PreparedStatement


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """A code or a refresh token as it was found, whatever became of it."""

    hash: str
    grant: Grant
    expires_at: datetime
    used_at: datetime | None
    dpop_jkt: str | None
    """Thumbprint of the key with which alone it counts."""
    x5t: str | None = None
    """Of the certificate with which alone a refresh token counts."""
    redirect_uri: str = ""
    """Of the request that led to a code."""
    code_challenge: str = ""
    """Of the request that led to a code."""


@dataclass(frozen=True, slots=True)
class Successor:
    """A new refresh token, to be given out; only its hash is kept."""

    lifetime: timedelta
    jkt: str | None
    x5t: str | None
    text: str = field(default_factory=new_secret)


class OneTimeTokens:
    """Those of one table."""

    def __init__(self, table: Table, key: str, *columns: str) -> None:
        """`key`: the column of their hashes; `columns`: what there is of the fields of OneTimeToken."""
        self._columns = ("expires_at", "used_at", *columns)
        own = (table.c[name].label(f"token_{name}") for name in self._columns)
        found = grant_rows().join(table, table.c.grant_id == tables.grant.c.id).add_columns(*own)
        self._find = PreparedStatement(found.where(table.c[key] == bindparam("hash")))
        taking = _taking(table, table.c[key])
        self._take = PreparedStatement(taking)
        self._replace = PreparedStatement(_replacing(taking))

    async def find(self, engine: AsyncEngine, text: str) -> OneTimeToken | None:
        """The one with this text."""
        hashed = hash_of(text)
        for row in await self._find.rows(engine, hash=hashed):
            return OneTimeToken(hashed, grant_from_row(row), **{name: row[f"token_{name}"] for name in self._columns})
        return None

    async def take(
        self, connection: AsyncConnection, token: OneTimeToken, now: datetime, successor: Successor | None
    ) -> bool:
        """Take it, and keep the one that comes in its place, in a transaction that has begun. False: it was taken."""
        if successor is None:
            return bool(await self._take.rows_in(connection, hash=token.hash, now=now))
        kept = {"successor": hash_of(successor.text), "jkt": successor.jkt, "x5t": successor.x5t}
        ends = now + successor.lifetime
        return bool(await self._replace.rows_in(connection, hash=token.hash, now=now, expires_at=ends, **kept))


def _taking(table: Table, key: Column[Any]) -> ReturningUpdate[Any]:
    unused = (key == bindparam("hash"), table.c.used_at.is_(None))
    return update(table).where(*unused).values(used_at=bindparam("now")).returning(table.c.grant_id)


def _replacing(taking: ReturningUpdate[Any]) -> Any:
    taken, new = taking.cte("taken"), tables.refresh_token
    texts = (bindparam(name, type_=Text) for name in ("successor", "jkt", "x5t"))
    moments = (bindparam(name, type_=DateTime(timezone=True)) for name in ("now", "expires_at"))
    columns = ("grant_id", "token_hash", "dpop_jkt", "x5t", "created_at", "expires_at")
    return insert(new).from_select(columns, select(taken.c.grant_id, *texts, *moments)).returning(new.c.grant_id)


CODES: Final = OneTimeTokens(tables.authorization_code, "code_hash", "dpop_jkt", "redirect_uri", "code_challenge")
REFRESH_TOKENS: Final = OneTimeTokens(tables.refresh_token, "token_hash", "dpop_jkt", "x5t")
