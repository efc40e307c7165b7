"""Requests to an identity provider: only where it may be, bounded in time and size, no redirects, cookies, proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

from authz.clients.checked_http import BodyRefused, CheckedHttp, bounded_body
from authz.clients.key_addresses import AddressRefused, KeyAddresses
from authz.sign_in.identity_provider import SignInRefused

_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "Assent"}
_CONNECTIONS: Final = 16


class IdpHttp:
    """A connection pool, opened when first used."""

    def __init__(self, addresses: KeyAddresses, *, timeout: float = 8.0) -> None:
        """`timeout` in seconds, for everything: name, connection, whole answer."""
        self._http = CheckedHttp(addresses, timeout=timeout, connections=_CONNECTIONS)

    async def get(self, url: str) -> dict[str, Any]:
        """A JSON object. Raises SignInRefused."""
        return await self._ask("GET", url, None, {})

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that answers a form. Raises SignInRefused."""
        return await self._ask("POST", url, form, headers)

    async def close(self) -> None:
        """Close the connections, for good."""
        await self._http.close()

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            sent = None if form is None else dict(form)
            async with self._http.request(method, url, _HEADERS | dict(headers), sent) as response:
                if response.status >= 500:
                    raise SignInRefused("unreachable", "status")
                if response.status != 200:
                    raise SignInRefused("provider-error", "status")
                body = await bounded_body(response)
        except AddressRefused:
            raise SignInRefused("untrusted", "address") from None
        except BodyRefused as refused:
            raise SignInRefused("untrusted", refused.reason) from None
        except TimeoutError:
            raise SignInRefused("unreachable", "timeout") from None
        except (aiohttp.ClientError, OSError, ValueError):
            # Their texts quote the address; none goes along.
            raise SignInRefused("unreachable", "connection") from None
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise SignInRefused("untrusted", "not-json") from None
