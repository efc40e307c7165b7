"""`/register/{client_id}`: an app reads, changes and ends its own registration (RFC 7592).

The registration token stays the same: an app that loses the answer to a change would lose its registration with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz.clients.changes import change_client, end_client, find_managed
from authz.clients.clients import Client, ClientError, NewClient
from authz.clients.metadata import PURPOSES, described, new_client_from, parse_metadata, read_body
from authz.clients.registration import (
    chosen_method,
    management,
    record_registration,
    registration_error,
    shown_secret,
    unauthorized,
)
from authz.clients.software_statements import Statement, kept_statement
from authz.context import AuthzContext
from authz.headers import authorization_in
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from fhir.store.change_bus import Change

_READ_ONLY: Final = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
_WRONG: Final = "the registration token is not that of this client"


class _Unauthorized(Exception):
    """No token, or not this client's: one answer, whether there is such a client or not."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request, read before its sender is known."""

    request: Request
    body: bytes
    statement: Statement | OAuthError | None

    def metadata_for(self, client: Client) -> dict[str, Any]:
        """The new metadata, with what a software statement settles. Raises OAuthError.

        An app that registered with a statement keeps to it, or to a newer one about the same software. The one that
        is registered was verified then; that it has expired since ends nothing.
        """
        metadata, given, kept = parse_metadata(self.body), self.statement, client.software_statement
        if kept is not None and metadata.get("software_statement", kept) == kept:
            return kept_statement(kept).over(metadata)
        if isinstance(given, OAuthError):
            raise given
        if given is None:
            if kept is not None:
                raise OAuthError("invalid_software_statement", "`software_statement` can't be taken away")
            return metadata
        before = given if kept is None else kept_statement(kept)
        if (before.issuer, before.subject) != (given.issuer, given.subject):
            text = "the software statement must be by the same `iss`, about the same `sub`"
            raise OAuthError("unapproved_software_statement", text)
        return given.over(metadata)


class ManagementEndpoint:
    """Answers GET, PUT and DELETE of one registration."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request, client_id: str) -> Response:
        """200 with the metadata, 204 once it is gone, or RFC 7591 §3.2.2 JSON; 401 for every wrong token."""
        context = self._context
        scheme, _, token = (authorization_in(request) or "").partition(" ")
        if scheme.lower() != "bearer":
            return unauthorized(_WRONG)
        try:
            body = await read_body(request)  # before a database connection is held
            statement = await context.statements.presented(body, context.client_keys, context.clock().timestamp())
            async with context.engine.begin() as connection:
                sent = _Sent(request, body, statement)
                answer = await self._answer(connection, sent, client_id, token.strip())
        except _Unauthorized:
            return unauthorized(_WRONG, "invalid_token")
        except (ClientError, OAuthError) as error:
            return error_response(registration_error(error))
        if request.method != "GET":
            context.tell(Change("client", client_id))
        return answer

    async def _answer(self, connection: AsyncConnection, sent: _Sent, client_id: str, token: str) -> Response:
        context, request = self._context, sent.request
        found = await find_managed(connection, client_id, token)
        if found is None:
            raise _Unauthorized
        client, added = found
        secret, method = None, client.auth_methods[0]
        if request.method == "DELETE":
            await end_client(connection, client.client_id, context.clock())
            await record_registration(connection, context, client, "D", request)
            return Response(status_code=204, headers=NO_STORE)
        if request.method == "PUT":
            metadata = sent.metadata_for(client)
            client, secret = await self._change(connection, client, metadata)
            await record_registration(connection, context, client, "U", request)
            method = chosen_method(metadata, client)
        answer = described(client, method) | management(context, client, token)
        answer["client_id_issued_at"] = int(added.timestamp())
        return JSONResponse(answer | shown_secret(secret), headers=NO_STORE)

    async def _change(
        self, connection: AsyncConnection, client: Client, metadata: Mapping[str, Any]
    ) -> tuple[Client, str | None]:
        if metadata.get("client_id") != client.client_id:
            raise OAuthError("invalid_client_metadata", "`client_id` must be that of the client")
        if any(name in metadata for name in _READ_ONLY):
            raise OAuthError("invalid_client_metadata", f"these can't be sent: {', '.join(_READ_ONLY)}")
        secret = metadata.get("client_secret")
        if secret is not None and not isinstance(secret, str):
            raise OAuthError("invalid_client_metadata", "`client_secret` must be a text")
        new = new_client_from(metadata, self._context.catalogue.askable)
        if PURPOSES not in metadata:  # the operator may have chosen them
            new = replace(new, purposes=client.purposes)
        if not self._context.open_registration and not _same_but_for_keys(client, new):
            raise OAuthError("access_denied", "registration is not open here, only keys can change", status=403)
        return await change_client(
            connection, client, new, secret=secret, addresses=self._context.client_keys.addresses
        )


def _same_but_for_keys(client: Client, new: NewClient) -> bool:
    return _reviewed(client) == _reviewed(new)


def _reviewed(registration: Client | NewClient) -> tuple[object, ...]:
    return (
        registration.name,
        registration.kind,
        registration.redirect_uris,
        registration.post_logout_redirect_uris,
        registration.scope,
        registration.purposes,
        registration.requires,
    )
