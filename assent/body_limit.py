"""Refuses request bodies over a limit: before reading when the length is announced, else as soon as it is passed."""

from __future__ import annotations

from assent.asgi import App, Message, Receive, Scope, Send, respond_problem

TOO_LARGE = "request body is larger than this server accepts"


class BodyTooLargeError(Exception):
    """The body that is being read has passed the limit."""


class BodyLimit:
    """ASGI middleware around everything that reads bodies."""

    def __init__(self, app: App, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counting `receive`."""
        announced = _announced(scope) if scope["type"] == "http" else None
        if announced is None:
            await self._app(scope, receive, send)
            return
        if announced > self._limit:
            await respond_problem(send, 413, TOO_LARGE)
            return
        read = 0
        started = False

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise BodyTooLargeError
            return message

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counting, noting)
        except BodyTooLargeError:
            if started:
                raise
            await respond_problem(send, 413, TOO_LARGE)


def _announced(scope: Scope) -> int | None:
    """The length of the body; 0 when it isn't told, None when there is no body (RFC 9112 §6.3)."""
    found = None
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            found = int(value[:19])
        elif name in (b"content-length", b"transfer-encoding"):
            found = found or 0
    return found
