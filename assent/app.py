"""The composition root: everything that a server process is made of, wired in one place.

What can't work fails here, at start-up, and not at the first request.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.asgi import App, Receive, Scope, Send, respond, respond_problem
from assent.body_limit import BodyLimit
from assent.metrics import Metrics
from assent.request_middleware import REQUEST_KEY, RequestMiddleware
from assent.settings import Settings


@dataclass(frozen=True, slots=True)
class Assent:
    """One server process's application and what it must let go of at the end."""

    asgi: App
    engine: AsyncEngine

    async def aclose(self) -> None:
        """Let go of connections."""
        await self.engine.dispose()


async def build(settings: Settings, database_url: str) -> Assent:
    """Wire the application on a migrated database."""
    # A database error quotes the values of its statement; these may be data of patients.
    engine = create_async_engine(database_url, pool_size=settings.database_connections, hide_parameters=True)
    metrics = Metrics()
    router = _Router({"/healthz": _alive, "/readyz": _Ready(engine), "/metrics": metrics})
    limited = BodyLimit(router, settings.max_request_body_bytes)
    return Assent(RequestMiddleware(limited, metrics, https=settings.public_url.startswith("https:")), engine)


class _Router:
    """Exact paths to plain ASGI endpoints."""

    def __init__(self, endpoints: dict[str, App]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await respond_problem(send, 404, "there is nothing at this address")
            return
        scope[REQUEST_KEY]["route"] = scope["path"]
        await endpoint(scope, receive, send)


async def _alive(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, b'{"status":"ok"}', "application/json")


class _Ready:
    """Ready means: the database answers."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except Exception:  # whatever the reason: not ready
            await respond(send, 503, b'{"status":"database unavailable"}', "application/json")
            return
        await respond(send, 200, b'{"status":"ok"}', "application/json")
