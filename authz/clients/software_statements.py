"""Software statements: what an issuer whom the operator trusts says of an app (RFC 7591 §2.3).

A statement is no secret, and the same for every installation of its software: it settles what it says, and proves
nothing about who sends it. What it says wins over what the app says of itself (RFC 7591 §2.3), now and at every later
change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from authz.clients.clients import Client, NewClient
from authz.clients.key_fetch import KeysUnavailable
from authz.clients.key_sets import Jwk
from authz.clients.keys import ClientKeys
from authz.clients.signatures import SignatureRefused, SignedText, claims_by, read_signed, texts
from authz.oauth_errors import OAuthError

_LEEWAY: Final = 30
_MAX_LENGTH: Final = 16_384
_ABOUT_ITSELF: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
_NEVER: Final = frozenset(
    {"software_statement", "client_id", "client_secret", "registration_access_token", "registration_client_uri"}
)
"""What no issuer can say of an app: this server gives it."""


@dataclass(frozen=True, slots=True)
class StatementIssuer:
    """Somebody who may vouch for apps, and the keys or where they stand."""

    issuer: str
    keys: tuple[Jwk, ...] = ()
    jwks_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that was verified, now or when it was registered."""

    text: str
    issuer: str
    subject: str
    """The software, as its issuer names it."""
    metadata: Mapping[str, Any]

    def over(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a request with the statement's in their place."""
        settled = set(self.metadata)
        if settled & {"jwks", "jwks_uri"}:
            settled |= {"jwks", "jwks_uri"}  # one stands for the other: an app can't add keys of its own
        rest = {name: value for name, value in plain.items() if name not in settled}
        return {**rest, **self.metadata, "software_statement": self.text}

    def vouches_for(self, new: NewClient) -> bool:
        """Whether it says itself where the app's people are sent or, for a service, with which keys it signs."""
        if new.kind == "backend":
            return bool({"jwks", "jwks_uri"} & set(self.metadata))
        named = "redirect_uris" in self.metadata
        return named and (not new.post_logout_redirect_uris or "post_logout_redirect_uris" in self.metadata)


class SoftwareStatements:
    """Verifies statements by the issuers of one server."""

    def __init__(self, issuers: Iterable[StatementIssuer] = (), audiences: Iterable[str] = ()) -> None:
        """`audiences`: what a statement for this server alone may name as `aud`."""
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._audiences = frozenset(audiences)

    @property
    def issuers(self) -> Sequence[StatementIssuer]:
        """Who is trusted."""
        return tuple(self._issuers.values())

    @property
    def are_taken(self) -> bool:
        """Whether anybody is trusted."""
        return bool(self._issuers)

    async def presented(self, body: bytes, client_keys: ClientKeys, now: float) -> Statement | OAuthError | None:
        """The statement in a registration's body, or why it counts for nothing; None where there is none.

        To be called while no database connection is held: an issuer's slow server must not use them up.
        """
        try:
            metadata = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # whoever reads the body says so
        if metadata.get("software_statement") is None:
            return None
        try:
            return await self._verified(metadata["software_statement"], client_keys, now)
        except OAuthError as refused:
            return refused

    async def _verified(self, text: object, client_keys: ClientKeys, now: float) -> Statement:
        if not isinstance(text, str) or len(text) > _MAX_LENGTH:
            raise _invalid(f"`software_statement` must be a text of at most {_MAX_LENGTH} characters")
        try:
            signed = read_signed(text)
            issuer = self._issuer(signed)
            claims = claims_by(signed, await _keys_of(issuer, signed, client_keys))
        except SignatureRefused as refused:
            raise _invalid(f"the software statement can't be taken: {refused}") from refused
        self._check(claims, now)
        return _statement(text, claims)

    def _issuer(self, signed: SignedText) -> StatementIssuer:
        claimed = signed.claims.get("iss")
        if not isinstance(claimed, str):
            raise _invalid("the software statement needs an `iss`")
        if claimed not in self._issuers:
            raise OAuthError("unapproved_software_statement", "statements by this `iss` aren't taken here")
        return self._issuers[claimed]

    def _check(self, claims: Mapping[str, Any], now: float) -> None:
        """RFC 7519 §4.1. Raises OAuthError."""
        times = {name: claims.get(name) for name in ("exp", "iat", "nbf") if name in claims or name != "nbf"}
        if any(type(moment) is not int for moment in times.values()):
            raise _invalid("the software statement needs `exp` and `iat`, each a whole number of seconds")
        if claims["exp"] <= now - _LEEWAY:
            raise _invalid("the software statement has expired")
        if claims["iat"] > now + _LEEWAY or claims.get("nbf", 0) > now + _LEEWAY:
            raise _invalid("the software statement isn't valid yet")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 500:
            raise _invalid("the software statement needs a `sub`, the software that it is about")
        if "aud" in claims and not texts(claims["aud"]) & self._audiences:
            raise _invalid("the software statement's `aud` is not this server")
        if _NEVER & set(claims):
            raise _invalid(f"a software statement can't hold {', '.join(sorted(_NEVER))}")


def kept_statement(text: str) -> Statement:
    """A statement that was verified when it was registered; it may have expired since."""
    return _statement(text, read_signed(text).claims)


def statement_of(client: Client) -> Statement | None:
    """With which the client is registered now; None for one that nobody vouched for."""
    return None if client.software_statement is None else kept_statement(client.software_statement)


def _statement(text: str, claims: Mapping[str, Any]) -> Statement:
    said = {name: value for name, value in claims.items() if name not in _ABOUT_ITSELF}
    return Statement(text, str(claims["iss"]), str(claims["sub"]), said)


async def _keys_of(issuer: StatementIssuer, signed: SignedText, client_keys: ClientKeys) -> Sequence[Jwk]:
    if issuer.jwks_uri is None:
        return issuer.keys
    try:
        return await client_keys.of(issuer.issuer, issuer.jwks_uri, signed.kid, signed.alg)
    except KeysUnavailable:
        raise SignatureRefused("its issuer's keys can't be had now, try again later") from None


def _invalid(text: str) -> OAuthError:
    return OAuthError("invalid_software_statement", text)
