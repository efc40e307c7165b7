"""How the FHIR endpoints answer over plain ASGI: the headers that every answer carries (docs/leaks.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from fhir.r4.operation_outcome import operation_outcome

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_FHIR_JSON: Final = b"application/fhir+json; charset=utf-8"
_ALWAYS: Final = (
    # What one token opens must never be answered to another from a cache.
    (b"cache-control", b"no-store"),
    (b"vary", b"authorization, accept, origin"),
    (b"x-content-type-options", b"nosniff"),
)


async def send_fhir(send: Send, status: int, body: bytes, *, headers: Headers = (), content_type: bytes = b"") -> None:
    """Send a whole answer, of FHIR JSON unless `content_type` says otherwise."""
    about = ((b"content-type", content_type or _FHIR_JSON), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*_ALWAYS, *about, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_outcome(send: Send, status: int, code: str, text: str, *, headers: Headers = ()) -> None:
    """Send an OperationOutcome with one issue of `code` (http://hl7.org/fhir/issue-type)."""
    await send_fhir(send, status, operation_outcome(code, text), headers=headers)


async def send_bodiless(send: Send, status: int, *, headers: Headers = ()) -> None:
    """Send 204 or 304, which have neither a body nor its length (RFC 9110 §8.6)."""
    await send({"type": "http.response.start", "status": status, "headers": [*_ALWAYS, *headers]})
    await send({"type": "http.response.body", "body": b""})
