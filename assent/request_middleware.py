"""Around every request: its id, its line in the access log, its count, and the headers that every answer carries.

The access log and the metrics know a request by its route's template (`/fhir/{type}/{id}`), never by its path or
query, which name patients. Endpoints tell what they know through `scope["assent.request"]`, a plain dict, so that
floors below needn't import this one: they may set `route` (a template) and `client_id` (of an authenticated client).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import structlog

from assent.asgi import App, Message, Receive, Scope, Send, respond_problem
from assent.log_setup import access_logger
from assent.metrics import METHODS, Metrics
from fhir.store.passing_failures import passing_failure

REQUEST_KEY = "assent.request"
REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{7,63}")
"""An id that a proxy before us may have given; anything else could forge log lines."""

DEFAULT_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
"""Set unless the endpoint decided otherwise; pages set their own policy."""
BROKEN = (500, "internal error; quote the x-request-id header when you report it")
AWAY = (503, "this can't be answered now; try again", (b"retry-after", b"5"))
_log = structlog.get_logger("assent.access")
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class RequestMiddleware:
    """ASGI middleware; the outermost."""

    def __init__(
        self, app: App, metrics: Metrics, *, https: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._monotonic = monotonic
        self._access = access_logger()
        self._headers = (*DEFAULT_HEADERS, STRICT_TRANSPORT) if https else DEFAULT_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request through the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope[REQUEST_KEY] = {"id": request_id, "route": None, "client_id": None}
        status = 0

        async def finishing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._complete(message.get("headers", ()), request_id)
            await send(message)

        begun = self._monotonic()
        structlog.contextvars.bind_contextvars(
            request_id=request_id
        )  # each request is a task with a context of its own
        self._metrics.open += 1
        try:
            await self._app(scope, receive, finishing)
        except Exception as error:
            passing = passing_failure(error)
            if passing is None:
                _log.exception("request failed", route=_route(scope))
            else:
                _log.error("database_away", route=_route(scope), reason=passing)
            if status:
                raise  # the answer has begun: the server can only break the connection
            await respond_problem(finishing, *(BROKEN if passing is None else AWAY))
        finally:
            self._metrics.open -= 1
            self._record(scope, status, self._monotonic() - begun)

    def _complete(self, given: object, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in given]  # type: ignore[attr-defined]  # ASGI pairs
        present = {name for name, _ in headers}
        headers.extend(header for header in self._headers if header[0] not in present)
        headers.append((b"x-request-id", request_id.encode()))
        return headers

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], _route(scope)
        self._metrics.observe(method, route, status, seconds)
        self._access.info(
            "request",
            method=method if method in METHODS else "other",
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            client_id=scope[REQUEST_KEY]["client_id"],
            request_id=scope[REQUEST_KEY]["id"],
        )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(12)


def _route(scope: Scope) -> str:
    """The template that the endpoint named, else FastAPI's, else a constant: never the path."""
    named = scope[REQUEST_KEY]["route"]
    return str(named or getattr(scope.get("route"), "path", None) or "unmatched")
