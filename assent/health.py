"""`/healthz`: the process runs. `/readyz`: it can answer, because the database does and changes are heard."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.asgi import App, Receive, Scope, Send, respond
from fhir.store.change_bus import ChangeBus

_JSON = "application/json"


async def alive(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that the process runs."""
    await respond(send, 200, b'{"status":"ok"}', _JSON)


def ready(engine: AsyncEngine, bus: ChangeBus) -> App:
    """An endpoint that asks the database."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except Exception:  # whatever the reason: not ready
            await respond(send, 503, b'{"status":"database unavailable"}', _JSON)
            return
        state = b"ok" if bus.healthy() else b"ok, without caches"
        await respond(send, 200, b'{"status":"%s"}' % state, _JSON)

    return answer
