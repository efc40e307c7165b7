"""`/register`: RFC 7591 dynamic registration, where the operator opened it, or for who has the operator's token or a
software statement by somebody whom the operator trusts (authz.clients.software_statements).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz.clients.changes import new_registration_token
from authz.clients.clients import Client, ClientError, RedirectUriError, add_client
from authz.clients.initial_access_tokens import use_initial_token
from authz.clients.metadata import described, new_client_from, parse_metadata, read_body
from authz.context import AuthzContext
from authz.headers import authorization_in
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from fhir.audit.event import Action, AuditRecord


class RegistrationEndpoint:
    """Answers `POST /register`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """201 with the registered metadata, or RFC 7591 §3.2.2 JSON."""
        context = self._context
        now = context.clock()
        scheme, _, initial = (authorization_in(request) or "").partition(" ")
        bearer = scheme.lower() == "bearer"
        invited = bearer or context.open_registration
        try:
            if not (invited or context.statements.are_taken):
                raise _closed()
            body = await read_body(request)
            statement = await context.statements.presented(body, context.client_keys, now.timestamp())
            if statement is None and not invited:
                raise _closed()
            async with context.engine.begin() as connection:
                if bearer and not await use_initial_token(connection, initial.strip(), now):
                    return unauthorized("the token for registering is unknown, expired or used up", "invalid_token")
                metadata = parse_metadata(body)
                if isinstance(statement, OAuthError):
                    raise statement
                metadata = metadata if statement is None else statement.over(metadata)
                new = new_client_from(metadata, context.catalogue.askable)
                if not invited and (statement is None or not statement.vouches_for(new)):
                    raise _closed("the software statement must name `redirect_uris`, or the keys of a service")
                client, secret = await add_client(connection, new, now, addresses=context.client_keys.addresses)
                token = await new_registration_token(connection, client.client_id)
                await record_registration(connection, context, client, "C", request)
        except (ClientError, OAuthError) as error:
            return error_response(registration_error(error))
        answer = described(client, chosen_method(metadata, client))
        answer |= {"client_id_issued_at": int(now.timestamp()), **management(context, client, token)}
        return JSONResponse(answer | shown_secret(secret), 201, NO_STORE)


def _closed(but: str = "ask the operator") -> OAuthError:
    return OAuthError("access_denied", f"registration is not open here, {but}", status=403)


async def record_registration(
    connection: AsyncConnection, context: AuthzContext, client: Client, action: Action, request: Request
) -> None:
    """Record that an app made, changed or ended its own registration, with the change itself."""
    request_id = str(request.scope.get("assent.request", {}).get("id", ""))
    record = AuditRecord("app", action, "0", context.clock(), request_id, client.client_id, client.name)
    await context.audit.record(record, connection)


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


def unauthorized(description: str, error: str | None = None) -> Response:
    """RFC 6750 §3; without an error code for who sent no token."""
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    body = {"error": "invalid_token", "error_description": description}
    return JSONResponse(body, 401, {**NO_STORE, "WWW-Authenticate": challenge})
