"""How Assent signs in at the upstream: not at all, Basic, Bearer, or as a SMART backend service.

SMART App Launch 2.2, Backend Services: client_credentials (RFC 6749 §4.4) with private_key_jwt (RFC 7523 §2.2).
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.jwk import JWKRegistry

from fhir.upstream.failure import UpstreamFailure

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 240
"""SMART allows five minutes at most."""
_EARLY_SECONDS: Final = 30.0
_MAX_TOKEN_ANSWER: Final = 65_536
_HEADERS: Final = {
    "Accept": "application/json",
    # The session doesn't decompress; unasked, aiohttp would offer that it does.
    "Accept-Encoding": "identity",
    "User-Agent": "Assent",
}


class Credentials(Protocol):
    """What goes into the Authorization header."""

    async def authorization(self, session: aiohttp.ClientSession) -> str | None:
        """The header's value; None for no header. Raises UpstreamFailure."""

    def refused(self, authorization: str | None) -> bool:
        """The upstream answered 401 to this value: whether another one may be had."""


class NoCredentials:
    """An upstream that asks for none."""

    async def authorization(self, session: aiohttp.ClientSession) -> str | None:
        """As `Credentials.authorization`."""
        return None

    def refused(self, authorization: str | None) -> bool:
        """As `Credentials.refused`."""
        return False


class Basic(NoCredentials):
    """User name and password (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._value = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")

    async def authorization(self, session: aiohttp.ClientSession) -> str | None:
        """As `Credentials.authorization`."""
        return self._value


class Bearer(NoCredentials):
    """One fixed token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    async def authorization(self, session: aiohttp.ClientSession) -> str | None:
        """As `Credentials.authorization`."""
        return self._value


class _TokenAnswer(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float = 300.0


class BackendServices:
    """A token of the upstream's token endpoint, fetched when needed by one request at a time, kept until it ages."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        private_jwk: Mapping[str, Any],
        scope: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`private_jwk` is an RSA key or an EC key on P-384. Raises joserfc's errors for one that isn't a key."""
        self._token_url, self._client_id, self._scope = token_url, client_id, scope
        self._key = JWKRegistry.import_key(dict(private_jwk))
        self._clock, self._monotonic = clock, monotonic
        self._value: str | None = None
        self._until = -float("inf")
        self._refresh: asyncio.Task[str] | None = None

    async def authorization(self, session: aiohttp.ClientSession) -> str | None:
        """As `Credentials.authorization`."""
        if self._value is not None and self._monotonic() < self._until:
            return self._value
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._renew(session), name="upstream-token")
        # All who wait share one attempt, its failure too; one who gives up doesn't end it for the others.
        return await asyncio.shield(self._refresh)

    def refused(self, authorization: str | None) -> bool:
        """As `Credentials.refused`: the token may have been revoked, a new one is worth one attempt."""
        if authorization == self._value:
            self._value = None
        return True

    async def _renew(self, session: aiohttp.ClientSession) -> str:
        answer = await self._fetch(session)
        value = f"Bearer {answer.access_token}"
        # A short-lived token is used for half of its life rather than never.
        self._until = self._monotonic() + max(answer.expires_in - _EARLY_SECONDS, answer.expires_in / 2)
        self._value = value
        return value

    async def _fetch(self, session: aiohttp.ClientSession) -> _TokenAnswer:
        form = {
            "grant_type": "client_credentials",
            "scope": self._scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }
        try:
            async with session.post(self._token_url, data=form, headers=_HEADERS, allow_redirects=False) as response:
                if response.status != 200:
                    raise UpstreamFailure("bad-status", status=response.status)
                body = b""
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > _MAX_TOKEN_ANSWER:
                        raise UpstreamFailure("too-large", status=200)
        except TimeoutError as slow:
            raise UpstreamFailure("timeout") from slow
        except (aiohttp.ClientError, OSError):
            raise UpstreamFailure("unreachable") from None
        try:
            answer = msgspec.json.decode(body, type=_TokenAnswer)
        except msgspec.DecodeError:
            # The fault's text and the body are left behind: they may hold the token.
            raise UpstreamFailure("not-fhir", status=200) from None
        usable = answer.access_token.isascii() and answer.access_token.isprintable() and answer.access_token
        if not usable or answer.token_type.lower() != "bearer":
            raise UpstreamFailure("not-fhir", status=200)
        return answer

    def _assertion(self) -> str:
        # SMART 2.2, Asymmetric client authentication: RS384 and ES384 are what every server must take.
        algorithm = "RS384" if self._key.key_type == "RSA" else "ES384"
        header = {"alg": algorithm, "typ": "JWT"} | ({"kid": self._key.kid} if self._key.kid else {})
        now = int(self._clock().timestamp())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._token_url,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(header, claims, self._key, algorithms=[algorithm])
