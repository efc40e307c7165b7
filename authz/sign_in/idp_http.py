"""Requests to an identity provider: only where it may be, bounded in time and size, no redirects, cookies, proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from authz.clients.key_addresses import AddressRefused, CheckedResolver, KeyAddresses
from authz.sign_in.identity_provider import SignInRefused

MAX_BODY: Final = 65_536
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "Assent"}
_CONNECTIONS: Final = 16


class IdpHttp:
    """A connection pool, opened when first used."""

    def __init__(self, addresses: KeyAddresses, *, timeout: float = 8.0) -> None:
        """`timeout` in seconds, for everything: name, connection, whole answer."""
        self._addresses = addresses
        self._resolver = CheckedResolver(addresses)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> dict[str, Any]:
        """A JSON object. Raises SignInRefused."""
        return await self._ask("GET", url, None, {})

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that answers a form. Raises SignInRefused."""
        return await self._ask("POST", url, form, headers)

    async def close(self) -> None:
        """Close the connections, for good."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._resolver.close()

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            self._addresses.check(url)
            request = self._open().request(
                method, URL(url, encoded=True), data=form, headers=_HEADERS | dict(headers), allow_redirects=False
            )
            async with request as response:
                if response.status >= 500:
                    raise SignInRefused("unreachable", "status")
                if response.status != 200:
                    raise SignInRefused("provider-error", "status")
                body = await _body(response)
        except AddressRefused:
            raise SignInRefused("untrusted", "address") from None
        except TimeoutError:
            raise SignInRefused("unreachable", "timeout") from None
        except (aiohttp.ClientError, OSError, ValueError):
            # Their texts quote the address; none goes along.
            raise SignInRefused("unreachable", "connection") from None
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise SignInRefused("untrusted", "not-json") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._resolver,
                    use_dns_cache=False,
                    force_close=True,  # every request goes where its own look-up said
                    limit=_CONNECTIONS,
                ),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise SignInRefused("untrusted", "encoding")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            raise SignInRefused("untrusted", "too-large")
    return bytes(body)
