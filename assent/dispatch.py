"""Which part of the server a path belongs to. Hot paths are compared first and reach plain ASGI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from assent.asgi import App, Receive, Scope, Send
from assent.request_middleware import REQUEST_KEY


class Choosy(Protocol):
    """An application that says which requests are its own."""

    async def serves(self, scope: Scope) -> bool:
        """Whether it answers this request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""


class Dispatch:
    """Sends requests to the consent endpoint (those of recorders), the FHIR proxy, the state of apps, exact paths, or
    the site.
    """

    def __init__(self, *, exact: Mapping[str, App], consents: Choosy, fhir: App, state: App, site: App) -> None:
        self._exact = exact
        self._consents = consents
        self._fhir = fhir
        self._state = state
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        if path == "/fhir" or (path.startswith("/fhir/") and not path.startswith("/fhir/.well-known/")):
            app = self._consents if await self._consents.serves(scope) else self._fhir
            await app(scope, receive, send)
            return
        if path.startswith("/app-state/"):
            await self._state(scope, receive, send)
            return
        endpoint = self._exact.get(path)
        if endpoint is not None:
            scope[REQUEST_KEY]["route"] = path
            await endpoint(scope, receive, send)
            return
        await self._site(scope, receive, send)
