"""Who a client is: by nothing, a secret, or a private_key_jwt (RFC 6749 §2.3, RFC 7523, SMART 2.2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_plus

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients.assertion import LEEWAY, claimed_client, failed, read_assertion, verify
from authz.clients.clients import Client, find_client
from authz.clients.signatures import FetchedKeys
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of, is_secret

_NO_CLIENT: Final = hash_of("no client has this secret")


async def authenticate_client(
    connection: AsyncConnection,
    form: Mapping[str, str],
    authorization: str | None,
    *,
    audiences: frozenset[str],
    now: datetime,
    fetched: FetchedKeys | None,
) -> Client:
    """The authenticated client; `fetched` are its keys by `fetch_keys`. One method at a time (RFC 6749 §2.3).

    Raises OAuthError, `invalid_client` but for several methods.
    """
    asserted = "client_assertion" in form or "client_assertion_type" in form
    used = [authorization is not None, "client_secret" in form, asserted]
    if sum(used) > 1:
        raise OAuthError("invalid_request", "use one method of client authentication, not several")
    if asserted and "client_assertion" not in form:
        raise failed("`client_assertion` is missing")
    if asserted:
        return await _by_assertion(connection, form, fetched, audiences, now)
    if authorization is not None:
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise failed()
        return await _by_secret(connection, client_id, secret, "client_secret_basic")
    client_id = form.get("client_id", "")
    if "client_secret" in form:
        return await _by_secret(connection, client_id, form["client_secret"], "client_secret_post")
    client = await find_client(connection, client_id or await _holder(connection, form))
    if client is None or not client.is_live or "none" not in client.auth_methods:
        raise failed()
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


async def _by_secret(connection: AsyncConnection, client_id: str, secret: str, method: str) -> Client:
    client = await find_client(connection, client_id)
    # The comparison happens for unknown clients too, so that time doesn't tell which exist.
    right = is_secret(secret, client.secret_hash if client and client.secret_hash else _NO_CLIENT)
    if client is None or not right or not client.is_live or method not in client.auth_methods:
        raise failed()
    return client


async def _by_assertion(
    connection: AsyncConnection,
    form: Mapping[str, str],
    fetched: FetchedKeys | None,
    audiences: frozenset[str],
    now: datetime,
) -> Client:
    """RFC 7523 §3; SMART 2.2, asymmetric authentication: five minutes at most, each jti once."""
    assertion = read_assertion(form)
    client = await find_client(connection, claimed_client(form, assertion))
    if client is None or not client.is_live or "private_key_jwt" not in client.auth_methods:
        raise failed()
    claims = verify(assertion, client, fetched, audiences, now.timestamp())
    expires = datetime.fromtimestamp(claims["exp"] + LEEWAY, UTC)
    used = tables.used_assertion
    row = {"client_id": client.client_id, "jti": hash_of(claims["jti"]), "expires_at": expires}
    fresh = await connection.execute(insert(used).values(**row).on_conflict_do_nothing())
    if not fresh.rowcount:
        raise failed("the assertion's `jti` was used before")
    # Replay must stay refused even if what follows fails.
    await connection.commit()
    await connection.begin()
    return client
