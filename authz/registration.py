"""`/register`: RFC 7591 dynamic registration, where the operator opened it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz.clients import ClientError, ClientKind, NewClient, RedirectUriError, add_client
from authz.context import AuthzContext
from authz.oauth_errors import NO_STORE, OAuthError, error_response

_MAX_BODY: Final = 65_536
_KINDS: Final = {
    "none": "public",
    "client_secret_basic": "confidential-symmetric",
    "client_secret_post": "confidential-symmetric",
    "private_key_jwt": "confidential-asymmetric",
}


class RegistrationEndpoint:
    """Answers `POST /register`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """201 with the registered metadata, or RFC 7591 §3.2.2 JSON."""
        context = self._context
        try:
            if not context.open_registration:
                raise OAuthError("access_denied", "registration is not open here, ask the operator", status=403)
            metadata = await _read_json(request)
            new = new_client_from(metadata)
            async with context.engine.begin() as connection:
                client, secret = await add_client(connection, new, context.clock())
        except ClientError as error:
            code = "invalid_redirect_uri" if isinstance(error, RedirectUriError) else "invalid_client_metadata"
            return error_response(OAuthError(code, str(error)))
        except OAuthError as error:
            return error_response(error)
        answer: dict[str, Any] = {
            "client_id": client.client_id,
            "client_id_issued_at": int(context.clock().timestamp()),
            "client_name": client.name,
            "redirect_uris": list(client.redirect_uris),
            "grant_types": list(client.grant_types),
            "response_types": ["code"] if client.redirect_uris else [],
            "token_endpoint_auth_method": metadata.get("token_endpoint_auth_method", client.auth_methods[0]),
            "scope": client.scope,
        }
        if secret is not None:
            answer |= {"client_secret": secret, "client_secret_expires_at": 0}
        if client.jwks is not None:
            answer["jwks"] = client.jwks
        return JSONResponse(answer, 201, NO_STORE)


async def _read_json(request: Request) -> Mapping[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise OAuthError("invalid_client_metadata", f"the body may have at most {_MAX_BODY} bytes", status=413)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as broken:
        raise OAuthError("invalid_client_metadata", "the body must be a JSON object") from broken


def new_client_from(metadata: Mapping[str, Any]) -> NewClient:
    """RFC 7591 §2 metadata as a registration. Raises ClientError, OAuthError."""
    method = metadata.get("token_endpoint_auth_method", "client_secret_basic")
    grants = metadata.get("grant_types", ["authorization_code"])
    texts = [metadata.get(name, "") for name in ("client_name", "scope")]
    uris = metadata.get("redirect_uris", [])
    if any(scope.startswith("assent/") for scope in str(texts[1]).split(" ")):
        # Powers over this server itself: the operator gives them (`assent client add`), nobody takes them.
        raise OAuthError("invalid_client_metadata", "a scope that begins with `assent/` can't be registered here")
    if method not in _KINDS:
        raise OAuthError("invalid_client_metadata", "`token_endpoint_auth_method` is not one that is supported")
    if not all(isinstance(text, str) for text in texts) or not _texts(uris) or not _texts(grants):
        raise OAuthError("invalid_client_metadata", "a text or a list in the metadata is malformed")
    if "jwks_uri" in metadata:
        raise OAuthError("invalid_client_metadata", "`jwks_uri` is not supported, send `jwks`")
    jwks = metadata.get("jwks")
    if jwks is not None and not isinstance(jwks, dict):
        raise OAuthError("invalid_client_metadata", "`jwks` must be an object")
    kind = _KINDS[method]
    if set(grants) == {"client_credentials"}:
        kind = "backend"
        if method == "none":
            raise OAuthError("invalid_client_metadata", "`client_credentials` needs client authentication")
    return NewClient(
        name=texts[0] or "Unnamed app",
        kind=cast(ClientKind, kind),
        redirect_uris=tuple(uris),
        scope=texts[1],
        jwks=jwks if method == "private_key_jwt" else None,
    )


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
