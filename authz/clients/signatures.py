"""JWTs that clients sign with a registered key: who they are (authz.clients.assertion), what they ask.

RFC 7515, RFC 7517; SMART App Launch 2.2, signature verification. What the claims must be is for whoever reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from authz.clients.clients import Client
from authz.clients.key_fetch import KeysUnavailable
from authz.clients.key_sets import ALGORITHMS, Jwk, KeySetRefused, check_numbers, matching, usable_keys
from authz.clients.keys import ClientKeys
from authz.clients.known_clients import KnownClients
from authz.jwt_parts import read_part

_UNAVAILABLE: Final = (
    "the client's keys couldn't be fetched from its `jwks_uri`: it must answer within 5 seconds, with status 200 and no"
    " redirect, from a public address, with a JWK Set of at most 20 keys and 64 kB; failures are tried again after 10"
    " seconds, and without a `max-age` to keep the keys there is a limit for each minute"
)
"""One text for every reason: which one it was would tell the caller what this server can reach."""


class SignatureRefused(Exception):
    """No JWT by this client; the text says why."""


@dataclass(frozen=True, slots=True)
class SignedText:
    """What a JWT says before anything of it is believed."""

    text: str
    kid: str
    alg: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A client's keys as they stand at its address."""

    jwks_uri: str
    keys: tuple[Jwk, ...]


def read_signed(text: str) -> SignedText:
    """A signed JWT, not verified. Raises SignatureRefused."""
    try:
        header, claims = (read_part(part) for part in text.split(".")[:2])
    except ValueError as broken:
        raise SignatureRefused("it isn't a signed JWT, or says something twice") from broken
    kid, alg = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or alg not in ALGORITHMS:
        raise SignatureRefused(f"it needs a `kid` and one of the algorithms {', '.join(ALGORITHMS)}")
    return SignedText(text, kid, str(alg), header, claims)


async def fetch_registered(
    clients: KnownClients, client_keys: ClientKeys, client_id: str, signed: SignedText
) -> FetchedKeys | None:
    """The keys to verify with, if the client registered their address. Raises SignatureRefused.

    To be called while no database connection is held: somebody else's slow server must not use them up.
    """
    client = await clients.find(client_id)
    if client is None or client.disabled or client.jwks_uri is None:
        return None
    try:
        keys = await client_keys.of(client.client_id, client.jwks_uri, signed.kid, signed.alg)
    except KeysUnavailable:
        raise SignatureRefused(_UNAVAILABLE) from None
    return FetchedKeys(client.jwks_uri, keys)


def verified_claims(signed: SignedText, client: Client, fetched: FetchedKeys | None) -> Mapping[str, Any]:
    """The claims, signed with a key that the client registered. Raises SignatureRefused."""
    if "jku" in signed.header and (client.jwks_uri is None or signed.header["jku"] != client.jwks_uri):
        raise SignatureRefused("its `jku` is not the registered `jwks_uri`")
    return claims_by(signed, _registered(client, fetched))


def claims_by(signed: SignedText, keys: Sequence[Jwk]) -> Mapping[str, Any]:
    """The claims, signed with the one of these keys that has its `kid` and fits (SMART 2.2, signature verification).

    Raises SignatureRefused.
    """
    found = matching(keys, signed.kid, signed.alg)
    if len(found) != 1:
        raise SignatureRefused("no registered key, or more than one, has its `kid` and fits its algorithm")
    try:
        return dict(jwt.decode(signed.text, check_numbers(found[0]), algorithms=[signed.alg]).claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as broken:
        raise SignatureRefused("its signature doesn't verify with a registered key") from broken


def _registered(client: Client, fetched: FetchedKeys | None) -> Sequence[Jwk]:
    if client.jwks is not None:
        try:
            return usable_keys(client.jwks)
        except KeySetRefused as refused:  # registered with an earlier release, which looked less closely
            raise SignatureRefused("the registered keys can't verify it") from refused
    # Fetched a moment ago; meanwhile the client may have moved.
    if fetched is None or fetched.jwks_uri != client.jwks_uri:
        raise SignatureRefused("the client has no registered keys")
    return fetched.keys


def texts(value: object) -> frozenset[str]:
    """A claim that may be one text or several, as `aud` (RFC 7519 §4.1.3)."""
    if isinstance(value, str):
        return frozenset({value})
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()
