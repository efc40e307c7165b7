"""`/register`: RFC 7591 dynamic registration, where the operator opened it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz.client_changes import new_registration_token
from authz.client_metadata import described, new_client_from, parse_metadata, read_body
from authz.clients import Client, ClientError, RedirectUriError, add_client
from authz.context import AuthzContext
from authz.oauth_errors import NO_STORE, OAuthError, error_response


class RegistrationEndpoint:
    """Answers `POST /register`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """201 with the registered metadata, or RFC 7591 §3.2.2 JSON."""
        context = self._context
        now = context.clock()
        try:
            check_open(context)
            metadata = parse_metadata(await read_body(request))
            new = new_client_from(metadata)
            async with context.engine.begin() as connection:
                client, secret = await add_client(connection, new, now, addresses=context.client_keys.addresses)
                token = await new_registration_token(connection, client.client_id)
        except (ClientError, OAuthError) as error:
            return error_response(registration_error(error))
        answer = described(client, chosen_method(metadata, client))
        answer |= {"client_id_issued_at": int(now.timestamp()), **management(context, client, token)}
        return JSONResponse(answer | shown_secret(secret), 201, NO_STORE)


def check_open(context: AuthzContext) -> None:
    """Whether apps may register and change what they registered. Raises OAuthError."""
    if not context.open_registration:
        raise OAuthError("access_denied", "registration is not open here, ask the operator", status=403)


def registration_error(error: ClientError | OAuthError) -> OAuthError:
    """RFC 7591 §3.2.2."""
    if isinstance(error, OAuthError):
        return error
    code = "invalid_redirect_uri" if isinstance(error, RedirectUriError) else "invalid_client_metadata"
    return OAuthError(code, str(error))


def chosen_method(metadata: dict[str, Any], client: Client) -> str:
    """The method of authentication that the client asked for, or that it has when it didn't say."""
    return str(metadata.get("token_endpoint_auth_method", client.auth_methods[0]))


def management(context: AuthzContext, client: Client, token: str) -> dict[str, str]:
    """Where and by what the app manages its registration (RFC 7592 §3)."""
    uri = f"{context.issuer}/register/{client.client_id}"
    return {"registration_access_token": token, "registration_client_uri": uri}


def shown_secret(secret: str | None) -> dict[str, Any]:
    """A new secret, which is shown this once; it doesn't expire."""
    return {} if secret is None else {"client_secret": secret, "client_secret_expires_at": 0}
