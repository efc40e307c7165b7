"""Signatures over the audit record: compact JWS (RFC 7515), ES256 only, with a `typ` that says what was signed.

The keys are the authorization server's, so signing is handed in; verifying needs a public key and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

CHECKPOINT_TYPE: Final = "assent-audit-checkpoint+jwt"
MANIFEST_TYPE: Final = "assent-audit-evidence+jwt"
ALGORITHM: Final = "ES256"
_MAX_JWS: Final = 65_536


class Signed(NamedTuple):
    """A compact JWS, and the public key that verifies it, with the server's proof that the key was its own."""

    kid: str
    jws: str
    public_jwk: dict[str, Any]
    voucher: bytes


class Signer(Protocol):
    """What the authorization server offers."""

    def sign(self, payload: bytes, typ: str) -> Signed:
        """Sign with the key that signs now."""

    def signing_key(self) -> dict[str, Any]:
        """The public key that verifies what is signed now."""

    def vouches(self, public_jwk: Mapping[str, Any], voucher: bytes) -> bool:
        """Whether this was a key of this server when it signed, however long ago."""

    def published(self, kid: str) -> dict[str, Any] | None:
        """The public key of this id, while it is published."""


def kid_of(token: str) -> str | None:
    """The `kid` that a JWS claims, unverified; None when it isn't a JWS."""
    try:
        kid = jws.extract_compact(token[:_MAX_JWS].encode()).headers().get("kid")
    except (JoseError, ValueError):
        return None
    # What a stranger wrote goes into a query: PostgreSQL has no text with NUL or half a surrogate pair.
    return kid if isinstance(kid, str) and kid.isascii() and kid.isprintable() else None


def signed_payload(token: str, public_jwk: Mapping[str, Any], typ: str) -> bytes | None:
    """The payload of a JWS that this very key signed for this very purpose; None for every other."""
    if len(token) > _MAX_JWS:
        return None
    try:
        key = ECKey.import_key(dict(public_jwk))
        found = jws.deserialize_compact(token, key, [ALGORITHM])
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    # RFC 8725 §3.11: explicit typing, so that no token and no signature of another kind passes for this one.
    if found.headers() != {"alg": ALGORITHM, "typ": typ, "kid": public_jwk.get("kid")}:
        return None
    return found.payload


def thumbprint(public_jwk: Mapping[str, Any]) -> str:
    """The key's name by its content (RFC 7638), to be compared with one that was learned elsewhere.

    Raises ValueError for what isn't an EC key.
    """
    try:
        return ECKey.import_key(dict(public_jwk)).thumbprint()
    except (JoseError, TypeError, KeyError) as broken:
        raise ValueError("not an EC key") from broken
