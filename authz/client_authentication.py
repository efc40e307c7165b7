"""Who a client is: by nothing, a secret, or a private_key_jwt (RFC 6749 §2.3, RFC 7523, SMART 2.2)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients import Client, find_client
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of, is_secret

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS: Final = ["RS384", "ES384", "RS256", "ES256"]
_KEY_TYPES: Final = {"RS": "RSA", "ES": "EC"}
_MAX_LIFETIME: Final = 300
_LEEWAY: Final = 30
_NO_CLIENT: Final = hash_of("no client has this secret")
_FAILED: Final = "the client couldn't be authenticated"


async def authenticate_client(
    connection: AsyncConnection,
    form: Mapping[str, str],
    authorization: str | None,
    *,
    audiences: frozenset[str],
    now: datetime,
) -> Client:
    """The authenticated client. One method at a time (RFC 6749 §2.3). Raises OAuthError invalid_client."""
    used = [authorization is not None, "client_secret" in form, "client_assertion" in form]
    if sum(used) > 1:
        raise OAuthError("invalid_request", "use one method of client authentication, not several")
    if "client_assertion" in form:
        return await _by_assertion(connection, form, audiences, now)
    if authorization is not None:
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise _failed()
        return await _by_secret(connection, client_id, secret, "client_secret_basic")
    client_id = form.get("client_id", "")
    if "client_secret" in form:
        return await _by_secret(connection, client_id, form["client_secret"], "client_secret_post")
    client = await find_client(connection, client_id or await _holder(connection, form))
    if client is None or not client.is_live or "none" not in client.auth_methods:
        raise _failed()
    return client


async def _holder(connection: AsyncConnection, form: Mapping[str, str]) -> str:
    """The client to which a refresh token was given: a public client need not name itself (RFC 6749 §6, §3.2.1)."""
    if "refresh_token" not in form:
        return ""
    r, g = tables.refresh_token.c, tables.grant.c
    found = await connection.execute(
        select(g.client_id)
        .join(tables.refresh_token, r.grant_id == g.id)
        .where(r.token_hash == hash_of(form["refresh_token"]))
    )
    return found.scalar_one_or_none() or ""


def _failed(text: str = _FAILED) -> OAuthError:
    return OAuthError("invalid_client", text, status=401)


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 2_000:
        raise _failed()
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as broken:
        raise _failed() from broken
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise _failed()
    return unquote_plus(client_id), unquote_plus(secret)  # RFC 6749 §2.3.1: form-encoded first


async def _by_secret(connection: AsyncConnection, client_id: str, secret: str, method: str) -> Client:
    client = await find_client(connection, client_id)
    # The comparison happens for unknown clients too, so that time doesn't tell which exist.
    right = is_secret(secret, client.secret_hash if client and client.secret_hash else _NO_CLIENT)
    if client is None or not right or not client.is_live or method not in client.auth_methods:
        raise _failed()
    return client


async def _by_assertion(
    connection: AsyncConnection, form: Mapping[str, str], audiences: frozenset[str], now: datetime
) -> Client:
    """RFC 7523 §3; SMART 2.2, asymmetric authentication: five minutes at most, each jti once."""
    assertion = form["client_assertion"]
    if form.get("client_assertion_type") != ASSERTION_TYPE or len(assertion) > 8_192:
        raise _failed("`client_assertion_type` must be the JWT bearer type")
    client = await find_client(connection, form.get("client_id") or _unverified_issuer(assertion))
    if client is None or not client.is_live or client.jwks is None:
        raise _failed()
    claims = _verified(assertion, client, audiences, now.timestamp())
    expires = datetime.fromtimestamp(claims["exp"] + _LEEWAY, UTC)
    used = tables.used_assertion
    row = {"client_id": client.client_id, "jti": hash_of(claims["jti"]), "expires_at": expires}
    fresh = await connection.execute(insert(used).values(**row).on_conflict_do_nothing())
    if not fresh.rowcount:
        raise _failed("the assertion's `jti` was used before")
    # Replay must stay refused even if what follows fails.
    await connection.commit()
    await connection.begin()
    return client


def _unverified_issuer(assertion: str) -> str:
    """Whose key to verify with; believed only once the signature holds."""
    try:
        import_part = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(import_part + "=" * (-len(import_part) % 4)))
        return str(claims.get("iss", ""))
    except (IndexError, ValueError, AttributeError) as broken:
        raise _failed() from broken


def _registered_key(client: Client, header: Mapping[str, Any]) -> dict[str, Any]:
    """The one registered key that fits `kid` and algorithm (SMART 2.2, signature verification). Raises ValueError."""
    if "jku" in header:
        raise ValueError("no address of keys is registered")
    kid, alg = header.get("kid"), str(header.get("alg"))
    found = [
        key
        for key in (client.jwks or {})["keys"]
        if key["kid"] == kid
        and key["kty"] == _KEY_TYPES.get(alg[:2])
        and key.get("alg", alg) == alg
        and key.get("use", "sig") == "sig"
    ]
    if len(found) != 1:
        raise ValueError("no key, or several")
    only: dict[str, Any] = found[0]
    return only


def _verified(assertion: str, client: Client, audiences: frozenset[str], now: float) -> Mapping[str, Any]:
    def key_of(unverified: Any) -> Any:
        return KeySet.import_key_set({"keys": [_registered_key(client, unverified.headers())]}).keys[0]

    try:
        claims = jwt.decode(assertion, key_of, algorithms=_ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, KeyError) as broken:
        raise _failed("the assertion's signature doesn't verify with a registered key") from broken
    audience = claims.get("aud")
    named = {audience} if isinstance(audience, str) else set(audience) if isinstance(audience, list) else set()
    expires, jti = claims.get("exp"), claims.get("jti")
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id or not named & audiences:
        raise _failed("the assertion's `iss`, `sub` or `aud` is wrong")
    if type(expires) is not int or not now - _LEEWAY < expires <= now + _MAX_LIFETIME + _LEEWAY:
        raise _failed("the assertion's `exp` must lie within the next five minutes")
    if not isinstance(jti, str) or not jti or len(jti) > 500:
        raise _failed("the assertion needs a `jti`")
    return claims
