"""`/revoke`: RFC 7009. A refresh token takes its whole grant with it; an access token goes alone."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz import tables
from authz.clients.authentication import authenticate_client
from authz.clients.clients import Client
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.headers import authorization_in
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from authz.opaque_secret import hash_of
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.grants import find_grant, revoke_grants
from fhir.audit.event import AuditRecord
from fhir.store.change_bus import Change, announce


class RevocationEndpoint:
    """Answers `POST /revoke`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """200 whether or not there was anything to revoke (RFC 7009 §2.2)."""
        context, now = self._context, self._context.clock()
        try:
            form = await read_form(request)
            authorization = authorization_in(request)
            client = await authenticate_client(context, form, authorization, endpoint="/revoke")
            if "token" not in form:
                raise OAuthError("invalid_request", "`token` is missing")
            async with context.engine.begin() as connection:
                told = await self._revoke(connection, client, form["token"], now)
                if told:
                    request_id = str(request.scope.get("assent.request", {}).get("id", ""))
                    await context.audit.record(
                        AuditRecord("revoke", "U", "0", now, request_id, client.client_id, client.name), connection
                    )
            for change in told:
                context.tell(change)
        except OAuthError as error:
            return error_response(error)
        # RFC 7009 §2.2 leaves the body open; client libraries that read every answer as JSON find one.
        return JSONResponse({}, headers=NO_STORE)

    async def _revoke(self, connection: AsyncConnection, client: Client, token: str, now: datetime) -> list[Change]:
        """What changed. Only the client's own tokens; another's stay, and the answer is the same (RFC 7009 §2.1)."""
        r = tables.refresh_token.c
        found = (await connection.execute(select(r.grant_id).where(r.token_hash == hash_of(token)))).first()
        if found is not None:
            grant = await find_grant(connection, found.grant_id)
            if grant is None or grant.client_id != client.client_id:
                return []
            ended = await revoke_grants(connection, now, tables.grant.c.id == grant.id)
            return [Change("grant", grant_id) for grant_id in ended]
        verified = self._context.tokens.verify(token)
        if isinstance(verified, TokenRefused) or verified[0].holder != client.client_id:
            return []
        access = verified[0]
        expires = datetime.fromtimestamp(access.expires_at, UTC)
        row = {"jti": access.jti, "expires_at": expires}
        await connection.execute(insert(tables.revoked_token).values(**row).on_conflict_do_nothing())
        await announce(connection, "token", access.jti)
        return [Change("token", access.jti)]
