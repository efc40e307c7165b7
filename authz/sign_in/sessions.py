"""Sign-in sessions: a random id in a cookie, its hash in the database, an idle and an absolute limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.opaque_secret import hash_of, new_secret
from authz.sign_in.accounts import Account, find_by_username, load_account, normalized_username
from authz.sign_in.attempts import LOCKED, SignInAttempts
from authz.sign_in.methods import PASSWORD, UNKNOWN, SignInMethods
from authz.sign_in.passwords import Passwords


@dataclass(frozen=True, slots=True)
class SignedInSession:
    """A live session."""

    id_hash: str
    account: Account
    auth_time: datetime
    csrf_secret: str
    methods: SignInMethods = UNKNOWN


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session just begun, and the only copy of its id."""

    session: SignedInSession
    cookie: str


@dataclass(frozen=True, slots=True)
class TooManyAttempts:
    """Wrong passwords in a row; try again then."""

    until: datetime


class Sessions:
    """Signing in, staying signed in, signing out."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], datetime],
        *,
        idle: timedelta,
        absolute: timedelta,
        attempts: SignInAttempts | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._idle = idle
        self.absolute: Final = absolute
        self._passwords = Passwords()
        self._attempts = attempts or SignInAttempts()

    async def sign_in(self, username: str, password: str, address: str) -> NewSession | TooManyAttempts | None:
        """Begin a session; None when name or password is wrong."""
        now = self._clock()
        name = normalized_username(username)
        if not await self._attempts.allowed(name, address):
            return TooManyAttempts(now + LOCKED)
        async with self._engine.connect() as connection:
            found = await find_by_username(connection, username)
        right = await self._passwords.check(password, None if found is None else found[1])
        if found is None or not right:
            await self._attempts.failed(name, address)
            return None
        await self._attempts.succeeded(name, address)
        return await self.begin(found[0], now, PASSWORD)

    async def may_begin(self, address: str) -> bool:
        """Whether this address may begin one more sign-in without a password; counts it."""
        return await self._attempts.may_begin(address)

    async def begin(self, account_id: str, auth_time: datetime, methods: SignInMethods) -> NewSession | None:
        """Begin a session of somebody who proved who they are, then and so; None when the account is gone."""
        now = self._clock()
        cookie, csrf = new_secret(), new_secret()
        async with self._engine.begin() as connection:
            account = await load_account(connection, account_id)
            if account is None:
                return None
            s = tables.session
            await connection.execute(delete(s).where(s.c.user_id == account_id, s.c.expires_at < now))
            await connection.execute(
                insert(s).values(
                    id_hash=hash_of(cookie),
                    user_id=account_id,
                    csrf_secret=csrf,
                    auth_time=auth_time,
                    amr=list(methods.amr),
                    acr=methods.acr,
                    last_seen=now,
                    expires_at=now + self.absolute,
                )
            )
        return NewSession(SignedInSession(hash_of(cookie), account, auth_time, csrf, methods), cookie)

    async def current(self, cookie: str) -> SignedInSession | None:
        """The session that a cookie stands for; None when unknown, idle for too long, or over."""
        if not cookie or len(cookie) > 100:
            return None
        now = self._clock()
        s = tables.session
        async with self._engine.begin() as connection:
            seen = (
                update(s)
                .where(s.c.id_hash == hash_of(cookie), s.c.expires_at > now, s.c.last_seen > now - self._idle)
                .values(last_seen=now)
                .returning(s.c.user_id, s.c.auth_time, s.c.csrf_secret, s.c.amr, s.c.acr)
            )
            row = (await connection.execute(seen)).first()
            account = None if row is None else await load_account(connection, row.user_id)
        if row is None or account is None:
            return None
        methods = SignInMethods(tuple(row.amr), row.acr)
        return SignedInSession(hash_of(cookie), account, row.auth_time, row.csrf_secret, methods)

    async def sign_out_elsewhere(self, session: SignedInSession) -> None:
        """End this person's other sessions, in every process."""
        s = tables.session
        async with self._engine.begin() as connection:
            await connection.execute(delete(s).where(s.c.user_id == session.account.id, s.c.id_hash != session.id_hash))

    async def sign_out(self, id_hash: str) -> None:
        """End a session, in every process."""
        async with self._engine.begin() as connection:
            await connection.execute(delete(tables.session).where(tables.session.c.id_hash == id_hash))
