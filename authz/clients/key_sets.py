"""Public keys of clients and identity providers: which JWK Sets are taken, which key of a set verifies a signature.

RFC 7517, RFC 7518 §3 and §6; SMART App Launch 2.2, asymmetric authentication. Nothing here reads or fetches.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

Jwk = Mapping[str, Any]

ALGORITHMS: Final = ("RS384", "ES384", "RS256", "ES256", "PS256")
"""What clients may sign with: SMART 2.2 names the first two, FAPI 2.0 §5.4.1 the last two."""
MAX_KEYS: Final = 20
CURVES: Final = {"ES384": "P-384", "ES256": "P-256"}
_NEEDED: Final = ("kty", "kid", "alg", "crv", "x", "y", "n", "e")
PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_RSA_BITS: Final = range(2048, 8193)
"""RFC 7518 §3.3 wants 2048 at least; a key that is much longer costs us more than it gives."""


_EXPONENT_BITS: Final = 32
_NUMBERS: Final = ("kty", "crv", "x", "y", "n", "e")
_MAX_KNOWN: Final = 1_000


class KeySetRefused(ValueError):
    """A JWK Set that can't be taken; the text says why."""


def check_key_set(jwks: Mapping[str, Any]) -> None:
    """A set that a client sends, to be kept as it is: every key must be one that can verify. Raises KeySetRefused."""
    if not _is_storable(jwks):
        raise KeySetRefused("no text in the set may have NUL in it")
    for key in _public(jwks):
        _check_key(key, ALGORITHMS)


def usable_keys(jwks: Mapping[str, Any], algorithms: Sequence[str] = ALGORITHMS) -> tuple[Jwk, ...]:
    """The keys that can verify, of a set that a client keeps for other readers too (RFC 7517 §5: the others are
    ignored). Raises KeySetRefused when it is no set, holds a private key, or none that can verify."""
    found = tuple(_bare(key) for key in _public(jwks) if _is_usable(key, algorithms))
    if not found:
        raise KeySetRefused("no key in the set can verify a signature")
    return found


def matching(keys: Sequence[Jwk], kid: object, alg: str) -> list[Jwk]:
    """The keys of that very `kid` and of a type that fits `alg` (SMART 2.2, signature verification)."""
    return [key for key in keys if isinstance(kid, str) and key["kid"] == kid and _algorithms(key, (alg,))]


def _public(jwks: Mapping[str, Any]) -> Sequence[Any]:
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 0 < len(keys) <= MAX_KEYS:
        raise KeySetRefused(f"`keys` must hold 1 to {MAX_KEYS} keys")
    if any(isinstance(key, dict) and PRIVATE & set(key) for key in keys):
        raise KeySetRefused("the set must hold public keys only")
    return keys


def _bare(key: Jwk) -> Jwk:
    """Without what isn't needed any more: what strangers add to their keys isn't kept."""
    return {name: key[name] for name in _NEEDED if name in key}


def _is_usable(key: Any, algorithms: Sequence[str]) -> bool:
    try:
        _check_key(key, algorithms)
    except KeySetRefused:
        return False
    return True


def _check_key(key: Any, algorithms: Sequence[str]) -> None:
    if not isinstance(key, dict) or not _is_name(key.get("kid")) or key.get("kty") not in ("RSA", "EC"):
        raise KeySetRefused("every key needs a `kid` of at most 200 characters and `kty` RSA or EC")
    if key.get("use", "sig") != "sig" or not _may_verify(key.get("key_ops", ["verify"])):
        raise KeySetRefused("`use` must be `sig` and `key_ops` must hold `verify`, where they stand")
    if not _algorithms(key, algorithms):
        raise KeySetRefused(f"every key must fit one of {', '.join(algorithms)}, which its `alg` may name")
    check_numbers(key)


def check_numbers(key: Jwk) -> ECKey | RSAKey:
    """The numbers of an RSA or EC key as a public key. Raises KeySetRefused."""
    numbers = tuple((name, key[name]) for name in _NUMBERS if isinstance(key.get(name), str))
    return _public_key(numbers)


@lru_cache(maxsize=_MAX_KNOWN)
def _public_key(numbers: tuple[tuple[str, str], ...]) -> ECKey | RSAKey:
    """What numbers mean never changes, and reading them takes as long as verifying a signature with some curves."""
    key: dict[str, Any] = dict(numbers)
    # The library warns of a short RSA key and takes it.
    if key["kty"] == "RSA" and not (_bits(key.get("n")) in _RSA_BITS and 1 < _bits(key.get("e")) <= _EXPONENT_BITS):
        raise KeySetRefused(f"an RSA key must have {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits and a small exponent")
    try:
        # The numbers are looked at when the key is asked for: a point that is off its curve fails here.
        found = (RSAKey if key["kty"] == "RSA" else ECKey).import_key(key)
        _ = found.public_key
    except (JoseError, ValueError, TypeError, KeyError, OverflowError) as broken:
        raise KeySetRefused("a key's numbers are not those of a public key") from broken
    return found


def _bits(number: object) -> int:
    """Length of a Base64urlUInt (RFC 7518 §2); 0 for what is none."""
    if not isinstance(number, str):
        return 0
    try:
        return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()
    except ValueError:
        return 0


def _algorithms(key: Jwk, algorithms: Sequence[str]) -> tuple[str, ...]:
    """Those of the algorithms that the key may verify, by its type, its curve and its `alg`."""
    if key["kty"] == "RSA":
        fitting = [name for name in algorithms if name not in CURVES]
    else:
        fitting = [name for name in algorithms if CURVES.get(name, "") == key.get("crv")]
    return tuple(name for name in fitting if key.get("alg", name) == name)


def _may_verify(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _is_storable(jwks: Mapping[str, Any]) -> bool:
    """Whether the database can hold it, what strangers add to their keys too."""
    waiting: list[Any] = [jwks]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and "\x00" in value:
            return False
    return True


def _is_name(kid: object) -> bool:
    return isinstance(kid, str) and 0 < len(kid) <= 200
