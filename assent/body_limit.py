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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._announced(scope) > self._limit:
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

    def _announced(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value[:19])
        return 0
