"""Whether an ID token was made by the provider, for us, now, for this sign-in (OpenID Connect Core §3.1.3.7)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

from authz.clients.key_sets import Jwk, matching
from authz.jwt_parts import read_part
from authz.sign_in.identity_provider import ALGORITHMS, IdentityProvider, SignInRefused
from authz.sign_in.methods import SignInMethods, methods_elsewhere

LEEWAY: Final = timedelta(seconds=30)
"""How far the provider's clock may be from ours."""
MAX_LENGTH: Final = 16_384
_LAST_SECOND: Final = 200_000_000_000
"""Some millennia from now; datetime can't tell times much later."""
_MAX_TEXT: Final = 255
"""OpenID Connect Core §2: `sub` has at most 255 ASCII characters."""


class _Headers(JWSRegistry):
    """Members that aren't known are ignored, unless `crit` names them (RFC 7515 §4, §4.1.11)."""

    max_header_length = MAX_LENGTH


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token of which nothing is believed yet, and what is needed to find its key."""

    text: str
    kid: str
    alg: str


@dataclass(frozen=True, slots=True)
class Proven:
    """What a verified token says."""

    subject: str
    auth_time: datetime
    methods: SignInMethods


def read_id_token(answer: Mapping[str, Any]) -> Unverified:
    """The ID token of a token endpoint's answer. Raises SignInRefused."""
    text = answer.get("id_token")
    if not isinstance(text, str) or len(text) > MAX_LENGTH or text.count(".") != 2 or not text.isascii():
        raise SignInRefused("untrusted", "id-token")
    try:
        header, _ = (read_part(part) for part in text.split(".")[:2])
    except ValueError:
        raise SignInRefused("untrusted", "id-token") from None
    kid, alg = header.get("kid"), header.get("alg")
    if alg not in ALGORITHMS:
        raise SignInRefused("untrusted", "algorithm")
    if not isinstance(kid, str):
        raise SignInRefused("untrusted", "kid")
    return Unverified(text, kid, str(alg))


def verify(
    token: Unverified, keys: Sequence[Jwk], provider: IdentityProvider, nonce: str, since: datetime, now: datetime
) -> Proven:
    """Check a token completely. `since`: a sign-in before this isn't enough. Raises SignInRefused."""
    found = matching(keys, token.kid, token.alg)
    if len(found) != 1:
        raise SignInRefused("untrusted", "kid")
    try:
        registry = _Headers(algorithms=[token.alg], strict_check_header=False)
        key = JWKRegistry.import_key(dict(found[0]))
        claims = jwt.decode(token.text, key, algorithms=[token.alg], registry=registry).claims
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignInRefused("untrusted", "signature") from None
    _check_audience(claims, provider)
    _check_times(claims, now)
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), nonce.encode()):
        raise SignInRefused("untrusted", "nonce")
    return Proven(_subject(claims, provider), _auth_time(claims, since, now), methods_elsewhere(claims))


def _check_audience(claims: Mapping[str, Any], provider: IdentityProvider) -> None:
    if claims.get("iss") != provider.issuer:
        raise SignInRefused("untrusted", "issuer")
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or provider.client_id not in named:
        raise SignInRefused("untrusted", "audience")
    # §3.1.3.7, 4 and 5: a token for several says for whom it was made.
    if claims.get("azp", None if len(named) > 1 else provider.client_id) != provider.client_id:
        raise SignInRefused("untrusted", "azp")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    expires, issued, begins = _moment(claims, "exp"), _moment(claims, "iat"), _moment(claims, "nbf")
    if expires is None or expires <= now - LEEWAY:
        raise SignInRefused("untrusted", "expired")
    if issued is None or issued > now + LEEWAY or (begins is not None and begins > now + LEEWAY):
        raise SignInRefused("untrusted", "issued")


def _auth_time(claims: Mapping[str, Any], since: datetime, now: datetime) -> datetime:
    """When the person signed in there. §2: required, as we ask with `max_age`; without it nothing is known."""
    found = _moment(claims, "auth_time")
    if found is None or found > now + LEEWAY:
        raise SignInRefused("untrusted", "auth-time")
    if found < since - LEEWAY:
        raise SignInRefused("stale", "auth-time")
    return min(max(found, since), now)


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    seconds = claims.get(name)
    if seconds is None:
        return None
    if type(seconds) is not int or not 0 <= seconds < _LAST_SECOND:
        raise SignInRefused("untrusted", "time")
    return datetime.fromtimestamp(seconds, UTC)


def _subject(claims: Mapping[str, Any], provider: IdentityProvider) -> str:
    found = _text(claims.get(provider.subject_claim))
    if found is None or _text(claims.get("sub")) is None:
        raise SignInRefused("untrusted", "subject")
    return found


def _text(value: object) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isascii() and value.isprintable()
    return str(value) if usable else None
