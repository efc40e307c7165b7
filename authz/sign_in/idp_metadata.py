"""What an identity provider publishes about itself (OpenID Connect Discovery 1.0 §3, §4.3; RFC 8414 §3.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from authz.clients.key_addresses import KeyAddresses
from authz.clients.key_fetch import KeysUnavailable
from authz.clients.key_sets import Jwk
from authz.clients.keys import ClientKeys
from authz.sign_in.identity_provider import ALGORITHMS, IdentityProvider, SignInRefused
from authz.sign_in.idp_http import IdpHttp

KEPT_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 3.0
"""After a failure."""
_KEYS_PER_MINUTE: Final = 600
"""More than for a client: a provider may forbid to keep them, and many people sign in when a shift begins."""
_KEYS_PAUSE: Final = 1.0
"""Less than for a client: the provider itself has just named the `kid`."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_METHODS: Final = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part that is used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool
    """Every answer carries `iss` (RFC 9207)."""
    secret_in_form: bool
    """It doesn't take the secret in a header."""
    end_session_endpoint: str | None
    """Where people sign out there (OpenID Connect RP-Initiated Logout 1.0)."""


def read_metadata(provider: IdentityProvider, document: Mapping[str, Any]) -> Metadata:
    """Check a provider's document. Raises SignInRefused."""
    if document.get("issuer") != provider.issuer:  # Discovery §4.3: exactly
        raise SignInRefused("untrusted", "metadata-issuer")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not isinstance(methods, list):
        raise SignInRefused("untrusted", "metadata")
    return Metadata(
        _endpoint(provider, document, "authorization_endpoint"),
        _endpoint(provider, document, "token_endpoint"),
        _endpoint(provider, document, "jwks_uri"),
        document.get("authorization_response_iss_parameter_supported") is True,
        next((method for method in _METHODS if method in methods), "") == "client_secret_post",
        None if "end_session_endpoint" not in document else _endpoint(provider, document, "end_session_endpoint"),
    )


class ProviderDocuments:
    """A provider's metadata and keys, kept for a while."""

    def __init__(
        self,
        provider: IdentityProvider,
        addresses: KeyAddresses,
        http: IdpHttp,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._http = http
        self._monotonic = monotonic
        self._metadata: Metadata | None = None
        self._until = self._failed_until = -float("inf")
        self._lock = asyncio.Lock()
        self._keys = ClientKeys(addresses, algorithms=ALGORITHMS, per_minute=_KEYS_PER_MINUTE, pause=_KEYS_PAUSE)

    async def metadata(self) -> Metadata:
        """The metadata, an hour old at most. Raises SignInRefused."""
        async with self._lock:
            now = self._monotonic()
            if self._metadata is not None and now < self._until:
                return self._metadata
            if now < self._failed_until:
                raise SignInRefused("unreachable", "too-often")
            try:
                url = self._provider.issuer.removesuffix("/") + "/.well-known/openid-configuration"
                self._metadata = read_metadata(self._provider, await self._http.get(url))
            except SignInRefused:
                self._failed_until = self._monotonic() + PAUSE_SECONDS
                raise
            self._until = now + KEPT_SECONDS
            return self._metadata

    async def keys(self, jwks_uri: str, kid: str, alg: str) -> tuple[Jwk, ...]:
        """The provider's keys; asked for again when none has this `kid`. Raises SignInRefused."""
        try:
            return await self._keys.of(self._provider.issuer, jwks_uri, kid, alg)
        except KeysUnavailable as failure:
            raise SignInRefused("unreachable", f"keys-{failure.reason}") from None

    async def close(self) -> None:
        """End what is under way."""
        await self._keys.close()


def _endpoint(provider: IdentityProvider, document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    try:
        parts = urlsplit(found) if isinstance(found, str) and len(found) <= 2000 and found.isascii() else None
        host = parts.hostname if parts is not None and parts.port != 0 else None
    except ValueError:
        parts, host = None, None
    secure = parts is not None and (
        parts.scheme == "https" or (parts.scheme == "http" and provider.loopback and host in _LOOPBACK)
    )
    if parts is None or not host or not secure or parts.fragment or parts.username is not None:
        raise SignInRefused("untrusted", f"metadata-{name}")
    if any(character.isspace() or not character.isprintable() for character in str(found)):
        raise SignInRefused("untrusted", f"metadata-{name}")
    return str(found)
