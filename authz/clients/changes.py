"""What changes of a registered app after it was added. Every change is announced to all processes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients.clients import (
    PUBLIC_ONLY,
    Client,
    ClientError,
    NewClient,
    check_keys,
    check_registration,
    find_client,
)
from authz.clients.key_addresses import KeyAddresses
from authz.opaque_secret import hash_of, is_secret, new_secret
from fhir.store.change_bus import announce

_NO_TOKEN: Final = hash_of("no client has this registration token")


async def replace_keys(
    connection: AsyncConnection,
    client_id: str,
    *,
    jwks: Mapping[str, Any] | None = None,
    jwks_uri: str | None = None,
    addresses: KeyAddresses = PUBLIC_ONLY,
) -> Client | None:
    """Give a client new keys, or another address of them; the old ones end at once. None when there is no such client.

    Raises ClientError. A client that has a secret keeps to it: another method is another registration.
    """
    client = await find_client(connection, client_id)
    if client is None:
        return None
    if client.auth_methods != ("private_key_jwt",):
        raise ClientError(f"client `{client_id}` has no keys; it authenticates by {client.auth_methods[0]}")
    if jwks is None and jwks_uri is None:
        raise ClientError("give `jwks` or `jwks_uri`")
    check_keys(client.kind, jwks, jwks_uri, addresses)
    await _write(connection, client_id, {"jwks": jwks, "jwks_uri": jwks_uri})
    return await find_client(connection, client_id)


async def new_registration_token(connection: AsyncConnection, client_id: str) -> str:
    """A token by which the app manages its registration (RFC 7592 §1.2); only its hash is kept."""
    token = new_secret()
    await _write(connection, client_id, {"registration_token_hash": hash_of(token)})
    return token


async def find_managed(connection: AsyncConnection, client_id: str, token: str) -> tuple[Client, datetime] | None:
    """The client that this token manages and when it was added, locked until the transaction ends; else None.

    Whether there is such a client, and whether it is disabled, makes no difference to who has another token.
    """
    c = tables.client.c
    query = select(c.registration_token_hash, c.disabled_at, c.created_at).where(c.client_id == client_id)
    row = None if "\x00" in client_id else (await connection.execute(query.with_for_update())).first()
    right = is_secret(token, row.registration_token_hash if row and row.registration_token_hash else _NO_TOKEN)
    if row is None or not right or row.disabled_at is not None:
        return None
    client = await find_client(connection, client_id)
    return None if client is None else (client, row.created_at)


async def change_client(
    connection: AsyncConnection, client: Client, new: NewClient, *, secret: str | None, addresses: KeyAddresses
) -> tuple[Client, str | None]:
    """Put another registration in the place of a client's; returns it with a secret that is new (RFC 7592 §2.2).

    `secret` is the one that the client says it has. What only the operator gives stays. Raises ClientError.
    """
    check_registration(new, addresses)
    if secret is not None and not is_secret(secret, client.secret_hash or _NO_TOKEN):
        raise ClientError("`client_secret` is not the one that was issued")
    fresh = new_secret() if new.needs_secret and client.secret_hash is None else None
    kept = hash_of(fresh) if fresh is not None else client.secret_hash
    values = {
        "name": new.name,
        "kind": new.kind,
        "secret_hash": kept if new.needs_secret else None,
        "jwks": new.jwks,
        "jwks_uri": new.jwks_uri,
        "redirect_uris": list(new.redirect_uris),
        "post_logout_redirect_uris": list(new.post_logout_redirect_uris),
        "scope": new.scope,
        "purposes": list(new.purposes),
        "requires": sorted(new.requires),
        "software_statement": new.software_statement,
    }
    await _write(connection, client.client_id, values)
    changed = await find_client(connection, client.client_id)
    if changed is None:  # the row is locked by whoever may call this
        raise ClientError("the client is gone")
    return changed, fresh


async def end_client(connection: AsyncConnection, client_id: str, now: datetime) -> None:
    """Disable a client for good and end everything that was granted to it; its registration token ends too."""
    g = tables.grant
    ended = update(g).where(g.c.client_id == client_id, g.c.revoked_at.is_(None)).values(revoked_at=now)
    # Not announced one by one: the news of the client reaches all tokens of its grants.
    await connection.execute(ended)
    await _write(connection, client_id, {"disabled_at": now, "registration_token_hash": None})


async def _write(connection: AsyncConnection, client_id: str, values: Mapping[str, Any]) -> None:
    await connection.execute(update(tables.client).where(tables.client.c.client_id == client_id).values(**values))
    await announce(connection, "client", client_id)
