"""HTTP/1.1 as uvicorn reads it, held to what it leaves open: sizes, time, and what counts as a header.

RFC 9112 §3.2 (one Host), §6.1 (transfer codings), RFC 9110 §6.5.1: a field that comes after the body is no header.
uvicorn would add it to those before the body, and with it what proxies in front have taken care to set or to take away.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD: Final = 64 * 1024
"""Bytes in a row that end no head and bring nothing of a body, such as headers; besides what arrives at once."""
WHOLE_SECONDS: Final = 30.0
"""How long a request may take to arrive, and a new connection until its first one has."""
_REFUSED: Final = "Invalid HTTP request received."


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._is_whole = False
        self._quiet = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_whole = False
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response(_REFUSED)
        if self._is_whole:
            self._rest()
        elif self._deadline is None:
            self._watch()

    def on_message_begin(self) -> None:
        self._in_head, self._is_whole = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._quiet = False, 0
        names = [name for name, _ in self.headers]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if names.count(b"host") > 1 or codings not in ([], [b"chunked"]):
            raise ValueError(_REFUSED)  # the parser's caller answers 400
        super().on_headers_complete()
        if self.parser.should_upgrade() and self.cycle is not None:
            # Refused by answering in HTTP/1.1 (RFC 9110 §7.8). The parser throws away what came along behind such a
            # request, so the answer to a later one would be taken for the answer to that.
            self.cycle.keep_alive = False

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: what anybody may ask for is no reason to fill the log."""

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_whole, self._quiet = True, 0
        super().on_message_complete()

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(WHOLE_SECONDS, self._too_slow)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        """End the connection, unless it is this side that lets the other one wait."""
        answering = self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body)
        if answering or self.flow.read_paused:
            self._watch()
        else:
            self.transport.close()
