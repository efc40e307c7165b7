"""Who a client is: by nothing, a secret, or a private_key_jwt (RFC 6749 §2.3, RFC 7523, SMART 2.2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

from sqlalchemy import bindparam, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.clients.assertion import LEEWAY, claimed_client, failed, fetch_keys, read_assertion, verify
from authz.clients.clients import Client
from authz.clients.known_clients import KnownClients
from authz.context import AuthzContext
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of, is_secret
from fhir.store.prepared_statement import PreparedStatement

_NO_CLIENT: Final = hash_of("no client has this secret")
_FORGET_EACH: Final = "00"
"""Expired assertions are deleted with every 256th that is kept: by how its hash begins."""
_FORGOTTEN_AT_ONCE: Final = 2_000

_r, _g, _used = tables.refresh_token.c, tables.grant.c, tables.used_assertion
_HOLDER: Final = PreparedStatement(
    select(_g.client_id)
    .join(tables.refresh_token, _r.grant_id == _g.id)
    .where(_r.token_hash == bindparam("token_hash"))
)
_TAKE: Final = PreparedStatement(
    insert(_used)
    .values({name: bindparam(name) for name in ("client_id", "jti", "expires_at")})
    .on_conflict_do_nothing()
    .returning(_used.c.jti)
)
_OLD = (
    select(_used.c.client_id, _used.c.jti)
    .where(_used.c.expires_at < bindparam("now"))
    .limit(_FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_FORGET: Final = PreparedStatement(delete(_used).where(tuple_(_used.c.client_id, _used.c.jti).in_(_OLD)))


async def authenticate_client(
    context: AuthzContext, form: Mapping[str, str], authorization: str | None, *, endpoint: str
) -> Client:
    """The authenticated client of a request to `endpoint`, a path. One method at a time (RFC 6749 §2.3).

    To be called while no database connection is held: the client's keys may have to be fetched. An assertion is used up
    with this, whatever follows. Raises OAuthError, `invalid_client` but for several methods.
    """
    asserted = "client_assertion" in form or "client_assertion_type" in form
    used = [authorization is not None, "client_secret" in form, asserted]
    if sum(used) > 1:
        raise OAuthError("invalid_request", "use one method of client authentication, not several")
    if asserted and "client_assertion" not in form:
        raise failed("`client_assertion` is missing")
    if asserted:
        return await _by_assertion(context, form, context.token_audiences | {context.issuer + endpoint})
    if authorization is not None:
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise failed()
        return await _by_secret(context.clients, client_id, secret, "client_secret_basic")
    client_id = form.get("client_id", "")
    if "client_secret" in form:
        return await _by_secret(context.clients, client_id, form["client_secret"], "client_secret_post")
    client = await context.clients.find(client_id or await _holder(context.engine, form))
    if client is None or not client.is_live or "none" not in client.auth_methods:
        raise failed()
    return client


async def _holder(engine: AsyncEngine, form: Mapping[str, str]) -> str:
    """The client to which a refresh token was given: a public client need not name itself (RFC 6749 §6, §3.2.1)."""
    if "refresh_token" not in form:
        return ""
    found = await _HOLDER.rows(engine, token_hash=hash_of(form["refresh_token"]))
    return str(found[0]["client_id"]) if found else ""


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 2_000:
        raise failed()
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as broken:
        raise failed() from broken
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise failed()
    return unquote_plus(client_id), unquote_plus(secret)  # RFC 6749 §2.3.1: form-encoded first


async def _by_secret(clients: KnownClients, client_id: str, secret: str, method: str) -> Client:
    client = await clients.find(client_id)
    # Also for unknown clients. How long finding takes may tell which were here lately: ids are no secrets (§2.2).
    right = is_secret(secret, client.secret_hash if client and client.secret_hash else _NO_CLIENT)
    if client is None or not right or not client.is_live or method not in client.auth_methods:
        raise failed()
    return client


async def _by_assertion(context: AuthzContext, form: Mapping[str, str], audiences: frozenset[str]) -> Client:
    """RFC 7523 §3; SMART 2.2, asymmetric authentication: five minutes at most, each jti once."""
    assertion, now = read_assertion(form), context.clock()
    client_id = claimed_client(form, assertion)
    fetched = await fetch_keys(context.clients, context.client_keys, client_id, assertion)
    client = await context.clients.find(client_id)
    if client is None or not client.is_live or "private_key_jwt" not in client.auth_methods:
        raise failed()
    claims = verify(assertion, client, fetched, audiences, now.timestamp())
    await _use(context.engine, client.client_id, claims, now)
    return client


async def _use(engine: AsyncEngine, client_id: str, claims: Mapping[str, Any], now: datetime) -> None:
    """Let an assertion count, this once, in all processes (RFC 7523 §3, 7). Raises OAuthError."""
    name, expires = hash_of(claims["jti"]), datetime.fromtimestamp(claims["exp"] + LEEWAY, UTC)
    if not await _TAKE.rows(engine, client_id=client_id, jti=name, expires_at=expires):
        raise failed("the assertion's `jti` was used before")
    if name.startswith(_FORGET_EACH):
        await _FORGET.rows(engine, now=now)
