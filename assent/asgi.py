"""The ASGI interface's types, and one plain answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def respond(send: Send, status: int, body: bytes, content_type: str) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_problem(send: Send, status: int, title: str) -> None:
    """Send problem details (RFC 9457) with nothing but a title."""
    body = b'{"type":"about:blank","title":"%s","status":%d}' % (title.encode(), status)
    await respond(send, status, body, "application/problem+json")
