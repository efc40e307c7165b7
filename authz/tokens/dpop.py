"""Proofs of possession: a JWT that a client signs, for one request, with the key of its token (RFC 9449).

A proof brings its own key; what makes it count is that the key is the token's (`cnf.jkt`). Each counts once, in all
processes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.clients.key_sets import CURVES, PRIVATE, KeySetRefused, check_numbers
from authz.jwt_parts import read_part
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of
from fhir.store.prepared_statement import PreparedStatement

ALGORITHMS: Final = ("ES256", "ES384", "PS256")
"""RFC 9449 §4.3: asymmetric ones only. FAPI 2.0 §5.4.1 leaves RS256 out, and nothing here depends on it."""
THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""RFC 7638 with SHA-256, base64url."""
_MAX_LENGTH: Final = 8_192
_MAX_JTI: Final = 500
_AGE: Final = 60
_AHEAD: Final = 30
"""Seconds: how old a proof may be, and how far its client's clock may be ahead (FAPI 2.0 §5.3.2.1: 10 at least)."""
_FORGET_EACH: Final = "00"
"""Expired proofs are deleted with every 256th that is kept: by how its hash begins."""
_FORGOTTEN_AT_ONCE: Final = 2_000
_used = tables.used_proof
_TAKE: Final = PreparedStatement(
    insert(_used)
    .values(proof_hash=bindparam("proof_hash"), expires_at=bindparam("expires_at"))
    .on_conflict_do_nothing()
    .returning(_used.c.proof_hash)
)
_OLD = (
    select(_used.c.proof_hash)
    .where(_used.c.expires_at < bindparam("now"))
    .limit(_FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_FORGET: Final = PreparedStatement(delete(_used).where(_used.c.proof_hash.in_(_OLD)))
_PORTS: Final = {"http": 80, "https": 443}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class _Jws(jws.JWSRegistry):
    """The library's limit is too small for a header that holds an RSA key."""

    max_header_length = _MAX_LENGTH


class ProofRefused(Exception):
    """A proof that counts for nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is right, as far as it can be told from itself."""

    jkt: str
    """Thumbprint of the key that signed it."""
    jti: str
    expires_at: datetime


def read_proof(text: str, *, method: str, url: str, now: datetime, token: str | None = None) -> Proof:
    """RFC 9449 §4.3 but for the replay. `url` is the public URL of the request, `token` the access token beside it.

    Raises ProofRefused.
    """
    if len(text) > _MAX_LENGTH or text.count(".") != 2:
        raise ProofRefused("the proof isn't one signed JWT")
    try:
        for part in text.split(".")[:2]:
            read_part(part)
        decoded = jwt.decode(text, _key_of, registry=_Jws(algorithms=ALGORITHMS))
        jkt = _imported(decoded.header["jwk"]).thumbprint()
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as broken:
        raise ProofRefused("the proof's `typ`, `alg`, `jwk` or signature is wrong") from broken
    claims = decoded.claims
    issued, jti = claims.get("iat"), claims.get("jti")
    if claims.get("htm") != method:
        raise ProofRefused("the proof's `htm` is not the method of the request")
    if not isinstance(claims.get("htu"), str) or _normal(claims["htu"]) != _normal(url):
        raise ProofRefused("the proof's `htu` is not the URL of the request")
    if type(issued) is not int or not now.timestamp() - _AGE <= issued <= now.timestamp() + _AHEAD:
        raise ProofRefused(f"the proof's `iat` must lie within the last {_AGE} seconds")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
        raise ProofRefused(f"the proof needs a `jti` of at most {_MAX_JTI} characters")
    if token is not None and claims.get("ath") != _token_hash(token):
        raise ProofRefused("the proof's `ath` is not the hash of the access token")
    return Proof(jkt, jti, datetime.fromtimestamp(issued + _AGE + _AHEAD, UTC))


async def use_proof(engine: AsyncEngine, proof: Proof, now: datetime) -> None:
    """Let the proof count, this once, whatever follows (RFC 9449 §11.1). Raises ProofRefused."""
    # By key: who has another key can't use up the `jti` of somebody else.
    name = hash_of(f"{proof.jkt} {proof.jti}")
    if not await _TAKE.rows(engine, proof_hash=name, expires_at=proof.expires_at):
        raise ProofRefused("the proof was used before")
    if name.startswith(_FORGET_EACH):
        await _FORGET.rows(engine, now=now)


async def proven_key(engine: AsyncEngine, text: str | None, *, url: str, now: datetime) -> str | None:
    """The key that a POST to one of this server's own endpoints proves; None where there is no proof.

    Raises OAuthError.
    """
    if text is None:
        return None
    try:
        proof = read_proof(text, method="POST", url=url, now=now)
        await use_proof(engine, proof, now)
    except ProofRefused as refused:
        raise wrong_proof(str(refused)) from refused
    return proof.jkt


def wrong_proof(text: str) -> OAuthError:
    """The token endpoint's answer (RFC 9449 §5)."""
    return OAuthError("invalid_dpop_proof", text)


def _key_of(unverified: Any) -> Any:
    header = unverified.headers()
    if header.get("typ") != "dpop+jwt" or "crit" in header:
        raise ValueError("no proof")
    key = header["jwk"]
    if not isinstance(key, dict):
        raise ValueError("no key")
    if key.get("crv") != CURVES.get(header["alg"]) or key.get("kty") != ("EC" if "crv" in key else "RSA"):
        raise ValueError("the key doesn't fit the algorithm")
    return _imported(key)


def _imported(key: Mapping[str, Any]) -> ECKey | RSAKey:
    """The public key of a header. Raises ValueError: nobody's private key belongs there."""
    if PRIVATE & set(key):
        raise ValueError("a private key")
    try:
        return check_numbers({name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key})
    except KeySetRefused as refused:
        raise ValueError("no public key") from refused


def _token_hash(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def _normal(url: str) -> tuple[str, str, int | None, str]:
    """RFC 9449 §4.3: without query and fragment, normalized by syntax and scheme (RFC 3986 §6.2.2, §6.2.3)."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise ProofRefused("the proof's `htu` is no URL") from None
    if parts.username is not None or not url.isascii():
        raise ProofRefused("the proof's `htu` is no URL")
    return parts.scheme, parts.hostname or "", port, _ESCAPE.sub(_unescaped, parts.path) or "/"


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()
