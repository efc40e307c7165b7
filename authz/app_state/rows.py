"""State of apps in the database: of each resource the newest version, by the app that owns it.

There is no history: what an app replaces or deletes (it may be a key) is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.app_state.body import StateBody, written

MOST_STATES: Final = 20
"""Of one app about one subject."""
_s: Final = tables.app_state.c


@dataclass(frozen=True, slots=True)
class KeptState:
    """A resource as it stands."""

    id: str
    subject: str
    code: str
    version: int
    updated: datetime
    body: bytes


class TooManyStates(Exception):
    """The app keeps as many already."""


async def create_state(connection: AsyncConnection, client_id: str, state: StateBody, now: datetime) -> KeptState:
    """Version 1 under a new id. Raises TooManyStates."""
    await connection.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"{client_id} {state.subject}", 1)))
    )
    kept = select(func.count()).where(_s.client_id == client_id, _s.subject == state.subject)
    if (await connection.execute(kept)).scalar_one() >= MOST_STATES:
        raise TooManyStates
    made = _kept(str(uuid.uuid4()), 1, state, now)
    row = {"id": made.id, "client_id": client_id, "subject": made.subject, "code": made.code, "version": 1}
    await connection.execute(insert(tables.app_state).values(**row, body=made.body.decode(), updated_at=made.updated))
    return made


async def find_state(
    connection: AsyncConnection, client_id: str, id: str, *, to_change: bool = False
) -> KeptState | None:
    """One of the app's own; None for any other. With `to_change` nobody else changes it before the transaction ends."""
    wanted = select(tables.app_state).where(_s.id == id, _s.client_id == client_id)
    row = (await connection.execute(wanted.with_for_update() if to_change else wanted)).one_or_none()
    return None if row is None else _of(row)


async def find_states(connection: AsyncConnection, client_id: str, code: str, subject: str) -> Sequence[KeptState]:
    """All of the app's own with this code and subject, oldest first."""
    wanted = select(tables.app_state).where(_s.client_id == client_id, _s.code == code, _s.subject == subject)
    return [_of(row) for row in await connection.execute(wanted.order_by(_s.updated_at, _s.id))]


async def replace_state(connection: AsyncConnection, current: KeptState, state: StateBody, now: datetime) -> KeptState:
    """The next version in place of the current one, which the caller holds."""
    made = _kept(current.id, current.version + 1, state, now)
    await connection.execute(
        update(tables.app_state)
        .where(_s.id == current.id)
        .values(version=made.version, body=made.body.decode(), updated_at=made.updated)
    )
    return made


async def delete_state(connection: AsyncConnection, current: KeptState) -> None:
    """It is gone, and its id means nothing any more."""
    await connection.execute(delete(tables.app_state).where(_s.id == current.id))


def _kept(id: str, version: int, state: StateBody, now: datetime) -> KeptState:
    return KeptState(id, state.subject, state.code, version, now, written(state.content, id, version, now))


def _of(row: Row[Any]) -> KeptState:
    return KeptState(row.id, row.subject, row.code, row.version, row.updated_at, row.body.encode())


def same_kind(current: KeptState, state: StateBody) -> bool:
    """Whether `code` and `subject` are as they were kept, to the letter (SMART 2.2, App State, updates)."""
    before = msgspec.json.decode(current.body, type=dict[str, Any])
    return all(before.get(name) == state.content.get(name) for name in ("code", "subject"))
