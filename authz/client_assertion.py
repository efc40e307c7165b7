"""Client assertions: a JWT that a client signs to say who it is (RFC 7523 §3; SMART App Launch 2.2, asymmetric)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.client_keys import ClientKeys
from authz.clients import Client, find_client
from authz.key_fetch import KeysUnavailable
from authz.key_sets import ALGORITHMS, Jwk, KeySetRefused, matching, usable_keys
from authz.oauth_errors import OAuthError

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY: Final = 30
_MAX_LIFETIME: Final = 300
_MAX_LENGTH: Final = 8_192
FAILED: Final = "the client couldn't be authenticated"
_UNAVAILABLE: Final = (
    "the client's keys couldn't be fetched from its `jwks_uri`: it must answer within 5 seconds, with status 200 and no"
    " redirect, from a public address, with a JWK Set of at most 20 keys and 64 kB; failures are tried again after 10"
    " seconds, and without a `max-age` to keep the keys there is a limit for each minute"
)
"""One text for every reason: which one it was would tell the caller what this server can reach."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion says before anything of it is believed."""

    text: str
    issuer: str
    kid: str
    alg: str
    header: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A client's keys as they stand at its address."""

    jwks_uri: str
    keys: tuple[Jwk, ...]


def failed(text: str = FAILED) -> OAuthError:
    """The error of every failed authentication (RFC 6749 §5.2)."""
    return OAuthError("invalid_client", text, status=401)


def read_assertion(form: Mapping[str, str]) -> Assertion:
    """The assertion of a form, not verified. Raises OAuthError."""
    text = form["client_assertion"]
    if form.get("client_assertion_type") != ASSERTION_TYPE or len(text) > _MAX_LENGTH:
        raise failed("`client_assertion_type` must be the JWT bearer type")
    try:
        header, claims = (_json(part) for part in text.split(".")[:2])
    except ValueError as broken:
        raise failed() from broken
    kid, alg = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or alg not in ALGORITHMS:
        raise failed(f"the assertion needs a `kid` and one of the algorithms {', '.join(ALGORITHMS)}")
    return Assertion(text, str(claims.get("iss", "")), kid, str(alg), header)


def _json(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except RecursionError as deep:
        raise ValueError("too deep") from deep
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


async def fetch_keys(engine: AsyncEngine, client_keys: ClientKeys, form: Mapping[str, str]) -> FetchedKeys | None:
    """The keys to verify the form's assertion with, if its client registered their address. Raises OAuthError.

    To be called while no database connection is held: somebody else's slow server must not use them up.
    """
    if "client_assertion" not in form:
        return None
    assertion = read_assertion(form)
    async with engine.connect() as connection:
        client = await find_client(connection, form.get("client_id") or assertion.issuer)
    if client is None or client.disabled or client.jwks_uri is None:
        return None
    try:
        keys = await client_keys.of(client.client_id, client.jwks_uri, assertion.kid, assertion.alg)
    except KeysUnavailable:
        raise failed(_UNAVAILABLE) from None
    return FetchedKeys(client.jwks_uri, keys)


def verify(
    assertion: Assertion, client: Client, fetched: FetchedKeys | None, audiences: frozenset[str], now: float
) -> Mapping[str, Any]:
    """The claims of an assertion by this client. Raises OAuthError."""
    key = _key(assertion, client, fetched)
    try:
        claims = jwt.decode(assertion.text, key, algorithms=[assertion.alg]).claims
    except (JoseError, ValueError, TypeError, KeyError) as broken:
        raise failed("the assertion's signature doesn't verify with a registered key") from broken
    audience = claims.get("aud")
    named = {audience} if isinstance(audience, str) else _texts(audience)
    expires, jti = claims.get("exp"), claims.get("jti")
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id or not named & audiences:
        raise failed("the assertion's `iss`, `sub` or `aud` is wrong")
    if type(expires) is not int or not now - LEEWAY < expires <= now + _MAX_LIFETIME + LEEWAY:
        raise failed("the assertion's `exp` must lie within the next five minutes")
    if not isinstance(jti, str) or not jti or len(jti) > 500:
        raise failed("the assertion needs a `jti`")
    return claims


def _texts(value: object) -> set[str]:
    return {item for item in value if isinstance(item, str)} if isinstance(value, list) else set()


def _key(assertion: Assertion, client: Client, fetched: FetchedKeys | None) -> Any:
    """The one key of that `kid` that fits (SMART 2.2, signature verification). Raises OAuthError."""
    if "jku" in assertion.header and (client.jwks_uri is None or assertion.header["jku"] != client.jwks_uri):
        raise failed("the assertion's `jku` is not the registered `jwks_uri`")
    found = matching(_registered(client, fetched), assertion.kid, assertion.alg)
    if len(found) != 1:
        raise failed("no registered key, or more than one, has the assertion's `kid` and fits its algorithm")
    return KeySet.import_key_set({"keys": [dict(found[0])]}).keys[0]


def _registered(client: Client, fetched: FetchedKeys | None) -> Sequence[Jwk]:
    if client.jwks is not None:
        try:
            return usable_keys(client.jwks)
        except KeySetRefused as refused:  # registered with an earlier release, which looked less closely
            raise failed() from refused
    # Fetched a moment ago; meanwhile the client may have moved.
    if fetched is None or fetched.jwks_uri != client.jwks_uri:
        raise failed()
    return fetched.keys
