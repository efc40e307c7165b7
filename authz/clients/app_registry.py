"""Apps that developers register for themselves, and the operator's review before people meet them.

An app that waits for review can do nothing: no authorization request, no token. What was reviewed can't be changed
afterwards by its developer, but for its secret and its keys; an app that needs more is registered anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients.clients import Client, ClientError, NewClient, add_client, client_from_row
from authz.clients.software_statements import Statement, statement_of
from fhir.store.change_bus import announce

AppState = Literal["waiting", "live", "disabled"]
SELF_SERVICE_KINDS: Final = ("public", "confidential-symmetric", "confidential-asymmetric", "backend")
"""What a developer may register; gateways and EHRs have powers over this server, which its operator gives."""
OWN_SCOPES: Final = "assent/"
"""How scopes begin that are powers over this server itself."""
MOST_APPS: Final = 50
"""Apps that one developer may have at a time."""
MOST_LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class RegisteredApp:
    """An app as its developer and the operator see it."""

    client: Client
    registered: datetime
    owner_id: str | None
    owner_name: str | None
    """None for an app that no developer's account registered."""

    @property
    def statement(self) -> Statement | None:
        """By whom, and as what, it was vouched for."""
        return statement_of(self.client)

    @property
    def state(self) -> AppState:
        """Where it stands."""
        if self.client.disabled:
            return "disabled"
        return "waiting" if self.client.awaits_review else "live"


async def register_app(
    connection: AsyncConnection, new: NewClient, owner_id: str, now: datetime
) -> tuple[Client, str | None]:
    """Register an app for a developer; with its secret, shown this once. Raises ClientError."""
    if new.kind not in SELF_SERVICE_KINDS:
        raise ClientError(f"an app of kind `{new.kind}` is registered by the operator")
    if any(scope.startswith(OWN_SCOPES) for scope in new.scope.split()):
        raise ClientError(f"a scope that begins with `{OWN_SCOPES}` is given by the operator")
    c = tables.client.c
    # Two registrations at once must not both be the last one.
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"apps of {owner_id}", 0))))
    held = select(func.count()).where(c.owner_id == owner_id, c.disabled_at.is_(None))
    if (await connection.execute(held)).scalar_one() >= MOST_APPS:
        raise ClientError(f"an account may have {MOST_APPS} apps; disable one first")
    client, secret = await add_client(connection, new, now)
    values = {"owner_id": owner_id, "review_since": now}
    await connection.execute(update(tables.client).where(c.client_id == client.client_id).values(**values))
    return client, secret


async def apps_of(connection: AsyncConnection, owner_id: str) -> Sequence[RegisteredApp]:
    """A developer's apps, newest first."""
    return await _apps(connection, tables.client.c.owner_id == owner_id)


async def all_apps(connection: AsyncConnection, name: str = "") -> Sequence[RegisteredApp]:
    """All that wait for review, then those in whose name or id `name` stands; newest first, at most MOST_LISTED."""
    c = tables.client.c
    waits = and_(c.review_since.is_not(None), c.disabled_at.is_(None))
    named = or_(*(column.icontains(name, autoescape=True) for column in (c.name, c.client_id))) if name else true()
    return await _apps(connection, or_(waits, named), waits.desc())


async def find_app(connection: AsyncConnection, client_id: str) -> RegisteredApp | None:
    """One app; None when there is none."""
    return next(iter(await _apps(connection, tables.client.c.client_id == client_id)), None)


async def approve_app(connection: AsyncConnection, client_id: str) -> bool:
    """Let an app that waits for review live; False when it doesn't wait."""
    c = tables.client.c
    waits = (c.client_id == client_id, c.review_since.is_not(None), c.disabled_at.is_(None))
    done = await connection.execute(update(tables.client).where(*waits).values(review_since=None))
    await announce(connection, "client", client_id)
    return bool(done.rowcount)


async def _apps(
    connection: AsyncConnection, which: ColumnElement[bool], *first: ColumnElement[bool]
) -> Sequence[RegisteredApp]:
    c, u = tables.client.c, tables.user_account.c
    rows = await connection.execute(
        select(tables.client, u.display_name)
        .join(tables.user_account, u.id == c.owner_id, isouter=True)
        .where(which)
        .order_by(*first, c.created_at.desc(), c.client_id)
        .limit(MOST_LISTED)
    )
    return [
        RegisteredApp(client_from_row(dict(row._mapping)), row.created_at, row.owner_id, row.display_name)
        for row in rows
    ]
