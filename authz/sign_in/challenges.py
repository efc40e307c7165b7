"""Random values that a browser must bring back once, soon, and itself: `state` and a passkey's challenge.

Kept as hashes, for all processes. Who reads the database learns neither the value nor the browser's secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.opaque_secret import hash_of, new_secret
from authz.sign_in.methods import SignInMethods

Kind = Literal["federated", "link", "passkey", "new-passkey"]
LIFETIMES: Final[dict[Kind, timedelta]] = {
    "federated": timedelta(minutes=10),
    "link": timedelta(minutes=10),
    "passkey": timedelta(minutes=5),
    "new-passkey": timedelta(minutes=5),
}


@dataclass(frozen=True, slots=True)
class Begun:
    """What was begun with a challenge."""

    next_page: str
    """Where the person goes afterwards; an address on this server."""
    since: datetime
    """A sign-in before this isn't enough."""
    subject: str | None = None
    """Who it was at the identity provider, when they are to be linked."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """Somebody who proved who they are."""

    account_id: str
    auth_time: datetime
    methods: SignInMethods
    next_page: str


class SignInChallenges:
    """Gives them out and takes them back."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    async def give(self, kind: Kind, browser: str, begun: Begun) -> str:
        """Return a new value: 256 random bits. `browser` is a secret that only this browser knows."""
        challenge, now, c = new_secret(), self._clock(), tables.sign_in_challenge
        async with self._engine.begin() as connection:
            await connection.execute(delete(c).where(c.c.expires_at < now))
            await connection.execute(
                insert(c).values(
                    challenge_hash=hash_of(challenge),
                    browser_hash=hash_of(browser),
                    kind=kind,
                    subject=begun.subject,
                    next_page=begun.next_page,
                    since=begun.since,
                    expires_at=now + LIFETIMES[kind],
                )
            )
        return challenge

    async def take(self, kind: Kind, browser: str, challenge: str) -> Begun | None:
        """What was begun; None when it is unknown, over, another browser's, or was taken before."""
        c = tables.sign_in_challenge
        taken = delete(c).where(*self._open(kind, browser, challenge))
        async with self._engine.begin() as connection:
            row = (await connection.execute(taken.returning(c.c.next_page, c.c.since, c.c.subject))).first()
        return None if row is None else Begun(row.next_page, row.since, row.subject)

    async def look(self, kind: Kind, browser: str, challenge: str) -> Begun | None:
        """As `take`, which is possible afterwards still."""
        c = tables.sign_in_challenge.c
        found = select(c.next_page, c.since, c.subject).where(*self._open(kind, browser, challenge))
        async with self._engine.connect() as connection:
            row = (await connection.execute(found)).first()
        return None if row is None else Begun(row.next_page, row.since, row.subject)

    def _open(self, kind: Kind, browser: str, challenge: str) -> tuple[ColumnElement[bool], ...]:
        c = tables.sign_in_challenge.c
        return (
            c.challenge_hash == hash_of(challenge),
            c.browser_hash == hash_of(browser),
            c.kind == kind,
            c.expires_at > self._clock(),
        )
