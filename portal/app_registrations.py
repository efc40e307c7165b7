"""Apps as developers and operators see and change them: the port `Apps` on top of `authz.clients.app_registry`.

Every change is recorded with who made it. A developer's methods touch the developer's own apps only.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import get_contextvars

from authz.clients.app_registry import RegisteredApp, all_apps, approve_app, apps_of, find_app, register_app
from authz.clients.clients import Client, NewClient, disable_client, rotate_secret
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from fhir.audit.event import AuditRecord
from fhir.store.change_bus import Change


class AppRegistrations:
    """Registers, reviews and ends apps."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def mine(self, by: SignedInSession) -> Sequence[RegisteredApp]:
        """As the port."""
        async with self._context.engine.connect() as connection:
            return await apps_of(connection, by.account.id)

    async def register(self, new: NewClient, by: SignedInSession) -> tuple[Client, str | None]:
        """As the port."""
        context = self._context
        async with context.engine.begin() as connection:
            client, secret = await register_app(connection, new, by.account.id, context.clock())
            await self._record(connection, client, "registered", by)
        return client, secret

    async def new_secret(self, client_id: str, by: SignedInSession) -> str | None:
        """As the port."""
        async with self._context.engine.begin() as connection:
            app = await self._own(connection, client_id, by)
            secret = None if app is None else await rotate_secret(connection, client_id)
            if app is not None and secret is not None:
                await self._record(connection, app.client, "given a new secret", by)
        self._context.tell(Change("client", client_id))
        return secret

    async def disable(self, client_id: str, by: SignedInSession) -> bool:
        """As the port."""
        context = self._context
        async with context.engine.begin() as connection:
            any_app = by.account.role == "operator"
            app = await (find_app(connection, client_id) if any_app else self._own(connection, client_id, by))
            if app is None:
                return False
            await disable_client(connection, client_id, context.clock())
            await self._record(connection, app.client, "disabled", by)
        context.tell(Change("client", client_id))
        return True

    async def all(self, name: str = "") -> Sequence[RegisteredApp]:
        """As the port."""
        async with self._context.engine.connect() as connection:
            return await all_apps(connection, name)

    async def approve(self, client_id: str, by: SignedInSession) -> bool:
        """As the port."""
        async with self._context.engine.begin() as connection:
            app = await find_app(connection, client_id) if by.account.role == "operator" else None
            if app is None or not await approve_app(connection, client_id):
                return False
            await self._record(connection, app.client, "approved", by)
        self._context.tell(Change("client", client_id))
        return True

    async def _own(self, connection: AsyncConnection, client_id: str, by: SignedInSession) -> RegisteredApp | None:
        found = await find_app(connection, client_id)
        return found if found is not None and found.owner_id == by.account.id else None

    async def _record(self, connection: AsyncConnection, client: Client, what: str, by: SignedInSession) -> None:
        await self._context.audit.record(
            AuditRecord(
                kind="app",
                action="C" if what == "registered" else "U",
                outcome="0",
                recorded=self._context.clock(),
                request_id=str(get_contextvars().get("request_id", "")),
                user=by.account.fhir_user or f"{by.account.role}:{by.account.username}",
                description=f"app {client.client_id} was {what}",
            ),
            connection,
        )
