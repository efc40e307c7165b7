"""Requests to addresses that clients and operators name: each look-up is checked, each answer bounded.

No redirects are followed, nothing is decompressed, and no cookies, proxies or name caches take part.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Literal

import aiohttp
from yarl import URL

from authz.clients.key_addresses import CheckedResolver, KeyAddresses

MAX_BODY: Final = 65_536


class BodyRefused(Exception):
    """The answer's body isn't read."""

    def __init__(self, reason: Literal["encoding", "too-large"]) -> None:
        super().__init__(reason)
        self.reason = reason


class CheckedHttp:
    """A session that connects only where `addresses` allow it; opened when first used, in that event loop."""

    def __init__(self, addresses: KeyAddresses, *, timeout: float, connections: int, per_host: int = 0) -> None:
        """`timeout` in seconds, for everything: name, connection, whole answer. `per_host` 0: as many as there are."""
        self._addresses = addresses
        self._resolver = CheckedResolver(addresses)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connections = connections
        self._per_host = per_host
        self._session: aiohttp.ClientSession | None = None

    def request(
        self, method: str, url: str, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """As aiohttp's. Raises AddressRefused."""
        self._addresses.check(url)  # again: the operator may allow less than when the address was named
        return self._open().request(method, URL(url, encoded=True), data=form, headers=headers, allow_redirects=False)

    async def close(self) -> None:
        """Close the connections, for good."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._resolver.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,
                force_close=True,  # every request goes where its own look-up said
                limit=self._connections,
                limit_per_host=self._per_host,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def bounded_body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, of MAX_BODY bytes at most. Raises BodyRefused."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise BodyRefused("encoding")
    if (response.content_length or 0) > MAX_BODY:
        raise BodyRefused("too-large")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            raise BodyRefused("too-large")
    return bytes(body)
