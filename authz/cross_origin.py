"""CORS for apps that live in a browser: SMART App Launch 2.2, "Considerations for CORS support".

Discovery is open to any origin (its routes say so themselves). `/token`, `/par`, `/revoke`, `/userinfo`, `/register`,
`/fhir` and `/app-state` are open to the origins of registered redirect URIs. Cookies never cross origins.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authz.clients.clients import list_clients
from fhir.store.change_bus import Change, ChangeBus

_PATHS: Final = ("/token", "/par", "/revoke", "/userinfo", "/register")
_BELOW: Final = ("/fhir/", "/app-state/", "/register/")
_PUBLIC: Final = ("/fhir/metadata", "/app-state/metadata", "/fhir/.well-known/", "/.well-known/", "/jwks", "/brands")
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, dpop, content-type, accept, prefer, if-match, x-request-id"),
    (b"access-control-max-age", b"600"),
)
_EXPOSED: Final = b"x-request-id, www-authenticate, retry-after, x-assent-source, etag, location"


class CrossOrigin:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, engine: AsyncEngine, bus: ChangeBus) -> None:
        self._app = app
        self._engine = engine
        self._bus = bus
        self._origins: frozenset[str] | None = None
        bus.subscribe(self._on_change)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add CORS headers where the origin may read the answer; answer preflights."""
        origin = next((v for n, v in scope.get("headers", ()) if n == b"origin"), None)
        if scope["type"] != "http" or origin is None:
            await self._app(scope, receive, send)
            return
        allowed = await self._allowed(scope["path"], origin)
        if allowed is None:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", _EXPOSED),
        ]
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": [*headers, *_PREFLIGHT]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
                message["headers"] = [*kept, *headers]
            await send(message)

        await self._app(scope, receive, with_headers)

    async def _allowed(self, path: str, origin: bytes) -> bytes | None:
        if path.startswith(_PUBLIC):
            return b"*"
        if path not in _PATHS and not path.startswith(_BELOW):
            return None
        origins = self._origins
        if origins is None or not self._bus.healthy():
            async with self._engine.connect() as connection:
                clients = await list_clients(connection)
            origins = self._origins = frozenset(o for c in clients if c.is_live for o in c.origins)
        return origin if origin.decode("latin-1") in origins else None

    def _on_change(self, change: Change) -> None:
        if change.kind in ("client", "all"):
            self._origins = None
