"""The ASGI interface's types, and one plain answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def respond(send: Send, status: int, body: bytes, content_type: str, *more: tuple[bytes, bytes]) -> None:
    """Send a whole answer; `more` are headers beside its type and length."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def read_only(app: App) -> App:
    """An endpoint that answers GET and HEAD only (RFC 9110 §15.5.6)."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 405, "headers": [(b"allow", b"GET, HEAD")]})
        await send({"type": "http.response.body"})

    return answer


async def respond_problem(send: Send, status: int, title: str, *more: tuple[bytes, bytes]) -> None:
    """Send problem details (RFC 9457) with nothing but a title."""
    body = b'{"type":"about:blank","title":"%s","status":%d}' % (title.encode(), status)
    await respond(send, status, body, "application/problem+json", *more)
