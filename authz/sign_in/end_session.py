"""What an app asks when it wants its user signed out: OpenID Connect RP-Initiated Logout 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.clients.clients import Client, find_client
from authz.context import AuthzContext
from authz.oauth_errors import OAuthError

MAX_TOKEN = 8_192


@dataclass(frozen=True, slots=True)
class Ending:
    """A checked request. `subject`: the account that the app means; `return_to`: where to go once it is done."""

    subject: str | None = None
    client_id: str | None = None
    return_to: str | None = None


async def read_ending(context: AuthzContext, parameters: Mapping[str, str]) -> Ending:
    """Check a request (§2, §3). An ID token that has expired still tells who is meant. Raises OAuthError."""
    hint = parameters.get("id_token_hint")
    claims = None if hint is None else _claims(context, hint)
    wanted = parameters.get("client_id") or (claims["aud"] if claims is not None else None)
    if claims is not None and wanted != claims["aud"]:
        raise OAuthError("invalid_request", "`client_id` is not the app to which the `id_token_hint` was issued")
    uri = parameters.get("post_logout_redirect_uri")
    if uri is not None:
        async with context.engine.connect() as connection:
            client = await _live_client(connection, wanted)
        if client is None or uri not in client.post_logout_redirect_uris:
            raise OAuthError("invalid_request", "`post_logout_redirect_uri` is not registered for this app")
        if "state" in parameters:
            uri += ("&" if urlsplit(uri).query else "?") + urlencode({"state": parameters["state"]})
    return Ending(None if claims is None else claims["sub"], wanted, uri)


async def _live_client(connection: AsyncConnection, client_id: str | None) -> Client | None:
    client = None if client_id is None else await find_client(connection, client_id)
    return client if client is not None and client.is_live else None


def _claims(context: AuthzContext, token: str) -> dict[str, str]:
    """`sub` and `aud` of an ID token that this server signed."""

    def key_of(unverified: Any) -> Any:
        key = context.keys.find(str(unverified.headers().get("kid")))
        if key is None or key.alg != "RS256":
            raise ValueError("unknown key")
        return key.key

    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        decoded = jwt.decode(token, key_of, algorithms=["RS256"])
    except (JoseError, ValueError, TypeError, KeyError) as broken:
        raise OAuthError("invalid_request", "`id_token_hint` is not an ID token of this server") from broken
    claims = decoded.claims
    texts = {name: claims.get(name) for name in ("iss", "sub", "aud")}
    if decoded.header.get("typ") != "JWT" or not all(isinstance(text, str) for text in texts.values()):
        raise OAuthError("invalid_request", "`id_token_hint` is not an ID token of this server")
    if texts["iss"] != context.issuer:
        raise OAuthError("invalid_request", "`id_token_hint` is not an ID token of this server")
    return {"sub": str(texts["sub"]), "aud": str(texts["aud"])}
