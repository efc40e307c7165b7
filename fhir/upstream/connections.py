"""Connections to one upstream server, kept and used again, one exchange at a time on each.

Reads and searches are most of what Assent does, so their way over the wire is its own: a fifth of the time that a
general client takes (docs/decisions/0035-upstream-connections.md). Writes, exports and signing in use aiohttp.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from socket import SOCK_STREAM
from typing import Final

from aiohappyeyeballs import start_connection
from yarl import URL

from fhir.upstream.exchange import Exchange
from fhir.upstream.failure import UpstreamFailure

KEPT_SECONDS: Final = 15.0
"""How long a connection may wait for its next request. Servers close theirs after longer, mostly."""
_ATTEMPT_SECONDS: Final = 0.25
"""RFC 8305 §8: after which the next address of a host is tried beside one that doesn't answer."""
_LINE: Final = re.compile(r"[ -~]+")


class Connections:
    """At most `most` connections at a time; who needs one more waits for one to be free."""

    def __init__(self, server: URL, *, most: int, connect_timeout: float, kept: float = KEPT_SECONDS) -> None:
        """`server` by its scheme, host and port; times in seconds."""
        self._host: Final = (server.raw_host or "").rstrip(".")
        self._port: Final = server.port
        self._tls: Final = ssl.create_default_context() if server.scheme == "https" else None
        self._name: Final = None if self._tls is None else self._host
        self._head: Final = (
            f"Host: {server.host_port_subcomponent}\r\n"
            "Accept: application/fhir+json\r\nAccept-Encoding: gzip\r\nUser-Agent: Assent\r\n"
        )
        self._connect_timeout: Final = connect_timeout
        self._kept: Final = kept
        self._free = asyncio.Semaphore(most)
        self._open: set[_Connection] = set()
        self._waiting: deque[_Connection] = deque()
        """Those without an exchange, the one that waits longest first."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def get(self, target: str, authorization: str | None, most: int) -> Exchange:
        """The answer to a GET of `target`, a path with its query; its body has at most `most` bytes.

        Raises UpstreamFailure, TimeoutError when a connection can't be had in time, ValueError for what would be more
        than one line.
        """
        request = self._request(target, authorization)
        async with self._free:
            if (used := self._next()) is not None:
                exchange = used.begin(request, most)
                try:
                    await used.until_done(exchange)
                except UpstreamFailure:
                    # Closed while it waited, and not heard of yet: nobody has read the request (RFC 9112 §9.3.1).
                    if not exchange.is_silent:
                        raise
                else:
                    return exchange
            fresh = await self._opened()
            exchange = fresh.begin(request, most)
            await fresh.until_done(exchange)
            return exchange

    async def close(self) -> None:
        """End all connections; none is opened afterwards, for whoever asked before either."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in tuple(self._open):
            connection.abort()

    def _request(self, target: str, authorization: str | None) -> bytes:
        if _LINE.fullmatch(target) is None or " " in target or not _LINE.fullmatch(authorization or "-"):
            raise ValueError("what goes into the request is not one line")
        signed = "" if authorization is None else f"Authorization: {authorization}\r\n"
        return f"GET {target} HTTP/1.1\r\n{self._head}{signed}\r\n".encode("ascii")

    def _next(self) -> _Connection | None:
        """A connection that waits, the one that did so for the shortest time."""
        while self._waiting:
            connection = self._waiting.pop()
            if not connection.is_closing:
                return connection
        return None

    async def _opened(self) -> _Connection:
        if self._closed:
            raise UpstreamFailure("unreachable")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                addresses = await loop.getaddrinfo(self._host, self._port, type=SOCK_STREAM)
                socket = await start_connection(addresses, happy_eyeballs_delay=_ATTEMPT_SECONDS)
                try:
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self), sock=socket, ssl=self._tls, server_hostname=self._name
                    )
                except BaseException:
                    socket.close()
                    raise
        except TimeoutError:
            raise
        except OSError:
            # Its text names host and port.
            raise UpstreamFailure("unreachable") from None
        return connection

    # What connections say of themselves.

    def opened(self, connection: _Connection) -> None:
        """It is there."""
        self._open.add(connection)
        if self._closed:
            connection.abort()

    def free(self, connection: _Connection) -> None:
        """It waits for its next request."""
        self._waiting.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(self._kept, self._close_old, connection.loop)

    def lost(self, connection: _Connection) -> None:
        """It has ended."""
        self._open.discard(connection)
        if connection in self._waiting:
            self._waiting.remove(connection)

    def _close_old(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        while self._waiting and self._waiting[0].since <= loop.time() - self._kept:
            self._waiting.popleft().abort()
        if self._waiting:
            left = self._waiting[0].since + self._kept - loop.time()
            self._sweep = loop.call_later(left, self._close_old, loop)


class _Connection(asyncio.Protocol):
    """One connection. What comes on it unasked ends it: it would be taken for the next request's answer."""

    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport
        self.loop: Final = asyncio.get_running_loop()
        self.since = 0.0
        """When its last exchange ended, by the loop's clock."""

    def begin(self, request: bytes, most: int) -> Exchange:
        """Send a request."""
        self._exchange = exchange = Exchange(self.loop.create_future(), most)
        if self.is_closing:  # the server has ended it already
            exchange.end(cleanly=False)
        else:
            self._transport.write(request)
        return exchange

    async def until_done(self, exchange: Exchange) -> None:
        """Wait for the answer. Raises UpstreamFailure. Whoever gives up waiting ends the connection."""
        try:
            await exchange.done
        finally:
            self._exchange = None
            exchange.release()
            if exchange.leaves_open and not self.is_closing:
                self.since = self.loop.time()
                self._owner.free(self)
            else:
                self._transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether it ends, though it may not have been heard yet."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """End it, with whatever is on its way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as of every stream
        """It is open."""
        self._transport = transport
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        if self._exchange is None:
            self._transport.abort()
        else:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, by whichever side."""
        self._owner.lost(self)
        if self._exchange is not None:
            self._exchange.end(cleanly=exc is None)
