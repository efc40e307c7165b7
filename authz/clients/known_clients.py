"""Registered clients as they are at this moment, for the endpoints that every request of a client goes through.

Kept true by the change bus: whatever changes a client announces it (`announce(connection, "client", …)`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.clients.clients import Client, client_from_row, is_client_id
from fhir.store.change_bus import Change, ChangeBus
from fhir.store.heard_cache import HeardCache
from fhir.store.prepared_statement import PreparedStatement

_MAX_CLIENTS: Final = 2_000
_FIND: Final = PreparedStatement(select(tables.client).where(tables.client.c.client_id == bindparam("client_id")))


class KnownClients:
    """Finds clients."""

    def __init__(self, engine: AsyncEngine, bus: ChangeBus) -> None:
        self._engine = engine
        self._kept: HeardCache[str, Client] = HeardCache(bus, _MAX_CLIENTS)
        bus.subscribe(self._on_change)

    async def find(self, client_id: str) -> Client | None:
        """One client; None when there is none."""
        return await self._kept.get(client_id, lambda: self._load(client_id))

    async def _load(self, client_id: str) -> Client | None:
        if not is_client_id(client_id):
            return None
        for row in await _FIND.rows(self._engine, client_id=client_id):
            return client_from_row(row)
        return None

    def _on_change(self, change: Change) -> None:
        if change.kind == "client":
            self._kept.forget(change.key)
        elif change.kind == "all":
            self._kept.forget_all()
