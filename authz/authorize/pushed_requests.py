"""`/par`: a client hands in its authorization request itself, and the browser brings a reference to it (RFC 9126).

A reference is random and kept as a hash. It counts once, for a minute, for the client to which it was given. What it
stands for is checked here, so that mistakes are told at once, and again when it is used: a registration can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz import tables
from authz.authorize.request_objects import read_request_object
from authz.authorize.requests import NotRedirectable, check_request, client_of, with_sign_in
from authz.authorize.sent_requests import PARAMETERS, SentRequest, check_signed
from authz.clients.authentication import authenticate_client
from authz.clients.clients import Client
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.headers import authorization_in, proof_in
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from authz.opaque_secret import hash_of, new_secret
from authz.tokens.dpop import proven_key, wrong_proof

REFERENCE: Final = "urn:ietf:params:oauth:request_uri:"
"""RFC 9126 §2.2."""
LIFETIME: Final = timedelta(seconds=60)


class PushEndpoint:
    """Answers `POST /par`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """201 with the reference; errors are RFC 6749 §5.2 JSON (RFC 9126 §2.3)."""
        try:
            form = await read_form(request)
            client, jkt = await self._client(request, form)
            sent = await self._sent(client, form, jkt)
            reference = await self._keep(client, sent)
        except OAuthError as error:
            return error_response(error)
        body = {"request_uri": reference, "expires_in": int(LIFETIME.total_seconds())}
        return JSONResponse(body, 201, headers=NO_STORE)

    async def _client(self, request: Request, form: Mapping[str, str]) -> tuple[Client, str | None]:
        """Who pushes, authenticated as at `/token`, and the thumbprint of the key that it proves."""
        context, now, url = self._context, self._context.clock(), f"{self._context.issuer}/par"
        # RFC 9126 §2: its own URL is an audience too
        client = await authenticate_client(context, form, authorization_in(request), endpoint="/par")
        jkt = await proven_key(context.engine, proof_in(request), url=url, now=now)
        if "authorization_code" not in client.grant_types:
            raise OAuthError("unauthorized_client", "this client has nobody who could decide")
        return client, jkt

    async def _sent(self, client: Client, form: Mapping[str, str], jkt: str | None) -> SentRequest:
        if "request_uri" in form:  # RFC 9126 §2.1
            raise OAuthError("invalid_request", "`request_uri` can't be pushed")
        signed = "request" in form
        if signed:
            parameters = dict(await read_request_object(self._context, client.client_id, form["request"]))
        else:
            parameters = {name: value for name, value in form.items() if name in PARAMETERS}
        if parameters.get("client_id") != client.client_id:
            raise OAuthError("invalid_request", "`client_id` must be that of the client")
        if jkt is not None and parameters.setdefault("dpop_jkt", jkt) != jkt:  # RFC 9449 §10.1
            raise wrong_proof("`dpop_jkt` is another key than the one of the DPoP proof")
        return SentRequest(parameters, signed)

    async def _keep(self, client: Client, sent: SentRequest) -> str:
        context, now = self._context, self._context.clock()
        check_signed(client, sent)
        async with context.engine.begin() as connection:
            try:
                _, uri = await client_of(connection, sent.parameters)
            except NotRedirectable as wrong:
                raise OAuthError("invalid_request", "`redirect_uri` is not registered for this client") from wrong
            checked = check_request(
                client, uri, sent.parameters, audience=context.fhir_base, catalogue=context.catalogue
            )
            with_sign_in(checked, sent.parameters, now, context.lifetimes.sign_in)
            return await _store(connection, client.client_id, sent, now)


async def _store(connection: AsyncConnection, client_id: str, sent: SentRequest, now: datetime) -> str:
    table, handle = tables.pushed_request, new_secret()
    await connection.execute(delete(table).where(table.c.expires_at <= now))
    await connection.execute(
        insert(table).values(
            handle_hash=hash_of(handle),
            client_id=client_id,
            parameters=dict(sent.parameters),
            signed=sent.signed,
            expires_at=now + LIFETIME,
        )
    )
    return REFERENCE + handle


async def take_pushed(connection: AsyncConnection, reference: str, client_id: str, now: datetime) -> SentRequest | None:
    """What a reference stands for, which it does this once. Another client's is left alone; the caller commits."""
    p = tables.pushed_request
    row = (
        await connection.execute(
            delete(p)
            .where(p.c.handle_hash == hash_of(reference.removeprefix(REFERENCE)), p.c.client_id == client_id)
            .returning(p.c.parameters, p.c.signed, p.c.expires_at)
        )
    ).first()
    return None if row is None or row.expires_at <= now else SentRequest(row.parameters, row.signed, pushed=True)
