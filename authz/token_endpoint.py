"""`/token`: RFC 6749 §4.1.3, §4.4, §6, with PKCE (RFC 7636) and what SMART 2.2 adds to the answer.

Each grant type is one ordered function. A code or refresh token is taken by an UPDATE that only one request can win;
a second use ends everything that hangs on the grant (RFC 6749 §4.1.2, RFC 9700 §4.14.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz import tables
from authz.access_tokens import TokenClaims
from authz.accounts import load_account
from authz.client_assertion import fetch_keys
from authz.client_authentication import authenticate_client
from authz.clients import Client
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.grants import Grant, OpenNow, find_grant, new_refresh_token, open_now, revoke_grants
from authz.launch_contexts import token_parameters
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from authz.opaque_secret import hash_of
from fhir.audit_event import AuditRecord
from fhir.change_bus import Change
from policies.model import Scope
from smart.scope_intersection import intersection
from smart.scope_syntax import format_as_asked, parse_scope, split_scope

_SERVICE_TOKEN: Final = timedelta(minutes=5)
"""SMART 2.2, backend services: at most five minutes."""


class _EndGrant(Exception):
    """Something was used twice: its grant must end, although the request fails."""

    def __init__(self, grant_id: str, error: OAuthError) -> None:
        super().__init__(error.description)
        self.grant_id, self.error = grant_id, error


class TokenEndpoint:
    """Answers `POST /token`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def __call__(self, request: Request) -> Response:
        """Answer one request; errors are RFC 6749 §5.2 JSON."""
        try:
            form = await read_form(request)
            answer = await self._answer(form, request)
        except OAuthError as error:
            return error_response(error)
        return JSONResponse(answer, headers=NO_STORE)

    async def _answer(self, form: Mapping[str, str], request: Request) -> dict[str, Any]:
        context, now = self._context, self._context.clock()
        fetched = await fetch_keys(context.engine, context.client_keys, form)
        try:
            async with context.engine.connect() as connection:
                await connection.begin()
                client = await authenticate_client(
                    connection,
                    form,
                    request.headers.get("authorization"),
                    audiences=context.token_audiences,
                    now=now,
                    fetched=fetched,
                )
                answer = await self._by_grant_type(connection, client, form, now, _request_id(request))
                await connection.commit()
                return answer
        except _EndGrant as reuse:
            async with context.engine.begin() as connection:
                ended = await revoke_grants(connection, now, tables.grant.c.id == reuse.grant_id)
            for grant_id in ended:
                context.tell(Change("grant", grant_id))
            raise reuse.error from None

    async def _by_grant_type(
        self, connection: AsyncConnection, client: Client, form: Mapping[str, str], now: datetime, request_id: str
    ) -> dict[str, Any]:
        grant_type = form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "`grant_type` is missing")
        if grant_type not in ("authorization_code", "refresh_token", "client_credentials"):
            raise OAuthError("unsupported_grant_type", "this `grant_type` is not supported")
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", "this client may not use this `grant_type`")
        if grant_type == "client_credentials":
            return await self._client_credentials(connection, client, form, request_id)
        if grant_type == "authorization_code":
            grant = await self._take_code(connection, client, form, now)
        else:
            grant = await self._take_refresh_token(connection, client, form, now)
        return await self._issue(connection, client, grant, form, now, request_id)

    async def _take_code(
        self, connection: AsyncConnection, client: Client, form: Mapping[str, str], now: datetime
    ) -> Grant:
        for name in ("code", "code_verifier"):
            if name not in form:
                raise OAuthError("invalid_request", f"`{name}` is missing")
        c = tables.authorization_code
        found = (await connection.execute(select(c).where(c.c.code_hash == hash_of(form["code"])))).first()
        grant = None if found is None else await find_grant(connection, found.grant_id)
        wrong = OAuthError("invalid_grant", "the code is unknown, expired, used, or another client's")
        if found is None or grant is None or grant.client_id != client.client_id:
            raise wrong
        # RFC 7636 §4.1, §4.6. Before the code is taken: who guesses the verifier can't burn the code of another.
        if not 43 <= len(form["code_verifier"]) <= 128 or not form["code_verifier"].isascii():
            raise OAuthError("invalid_grant", "`code_verifier` must have 43 to 128 characters")
        if create_s256_code_challenge(form["code_verifier"]) != found.code_challenge:
            raise OAuthError("invalid_grant", "`code_verifier` doesn't fit the `code_challenge`")
        if (
            form.get("redirect_uri", found.redirect_uri if len(client.redirect_uris) == 1 else None)
            != found.redirect_uri
        ):
            raise OAuthError("invalid_grant", "`redirect_uri` is not the one of the authorization request")
        taken = await connection.execute(
            update(c)
            .where(c.c.code_hash == found.code_hash, c.c.used_at.is_(None), c.c.expires_at > now)
            .values(used_at=now)
        )
        if not taken.rowcount:
            if found.expires_at > now or found.used_at is not None:
                raise _EndGrant(grant.id, wrong)
            raise wrong
        return grant

    async def _take_refresh_token(
        self, connection: AsyncConnection, client: Client, form: Mapping[str, str], now: datetime
    ) -> Grant:
        if "refresh_token" not in form:
            raise OAuthError("invalid_request", "`refresh_token` is missing")
        r = tables.refresh_token
        found = (await connection.execute(select(r).where(r.c.token_hash == hash_of(form["refresh_token"])))).first()
        grant = None if found is None else await find_grant(connection, found.grant_id)
        wrong = OAuthError("invalid_grant", "the refresh token is unknown, expired, used, revoked, or another client's")
        if found is None or grant is None or grant.client_id != client.client_id or found.expires_at <= now:
            raise wrong
        taken = await connection.execute(
            update(r).where(r.c.token_hash == found.token_hash, r.c.used_at.is_(None)).values(used_at=now)
        )
        if not taken.rowcount:
            raise _EndGrant(grant.id, wrong)
        return grant

    async def _issue(
        self,
        connection: AsyncConnection,
        client: Client,
        grant: Grant,
        form: Mapping[str, str],
        now: datetime,
        request_id: str,
    ) -> dict[str, Any]:
        context = self._context
        opened = await open_now(connection, context.repository, context.catalogue, grant, now)
        account = await load_account(connection, grant.user_id)
        if opened is None or account is None:
            raise OAuthError("invalid_grant", "the consent behind this grant has ended")
        scope = _narrowed(opened, form.get("scope"))
        if account.fhir_user is None:  # SMART 2.2, identity data: who is no FHIR resource can't have the scope
            scope = " ".join(part for part in scope.split(" ") if part != "fhirUser")
        session, _, _ = split_scope(scope)
        fhir_user = account.fhir_user if "fhirUser" in session or "profile" in session else None
        token, jti = context.tokens.mint(
            TokenClaims(
                client_id=client.client_id,
                subject=account.id,
                scope=scope,
                lifetime=context.lifetimes.access_token,
                grant_id=grant.id,
                patient=grant.patient_id,
                fhir_user=account.fhir_user,
                purpose=grant.purpose,
                consents=opened.consents,
            )
        )
        answer: dict[str, Any] = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(context.lifetimes.access_token.total_seconds()),
            "scope": scope,
        }
        answer |= token_parameters(grant.patient_id, grant.launch)
        if grant.offline:
            answer["refresh_token"] = await new_refresh_token(
                connection, grant.id, now, context.lifetimes.refresh_token
            )
        if "openid" in session:
            answer["id_token"] = self._id_token(client, grant, account.id, account.display_name, fhir_user, now)
        await self._record(connection, client, account.fhir_user, grant.patient_id, opened.consents, jti, request_id)
        return answer

    def _id_token(
        self, client: Client, grant: Grant, subject: str, name: str, fhir_user: str | None, now: datetime
    ) -> str:
        """OpenID Connect Core §2; SMART 2.2: RS256, `fhirUser` as an absolute URL."""
        context = self._context
        issued = int(now.timestamp())
        claims: dict[str, Any] = {
            "iss": context.issuer,
            "sub": subject,
            "aud": client.client_id,
            "iat": issued,
            "exp": issued + int(context.lifetimes.access_token.total_seconds()),
            "auth_time": int(grant.auth_time.timestamp()),
        }
        optional = {
            "nonce": grant.nonce,
            "fhirUser": fhir_user and f"{context.fhir_base}/{fhir_user}",
            "amr": list(grant.methods.amr),
            "acr": grant.methods.acr,
        }
        claims |= {key: value for key, value in optional.items() if value}
        if "profile" in split_scope(grant.scope_asked)[0]:
            claims["name"] = name
        key = context.keys.signing("RS256")
        return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key.key, ["RS256"])

    async def _client_credentials(
        self, connection: AsyncConnection, client: Client, form: Mapping[str, str], request_id: str
    ) -> dict[str, Any]:
        """RFC 6749 §4.4: scopes that lie within those registered for the client, no more."""
        wanted = form.get("scope", client.scope).split(" ")
        scope = " ".join(text for text in dict.fromkeys(wanted) if text and _is_registered(client, text))
        if not scope:
            raise OAuthError("invalid_scope", "no scope was asked for that is registered for this client")
        context = self._context
        purpose = next(iter(client.purposes), "")
        claims = TokenClaims(client.client_id, client.client_id, scope, _SERVICE_TOKEN, purpose=purpose)
        token, jti = context.tokens.mint(claims)
        await self._record(connection, client, None, None, (), jti, request_id)
        seconds = int(_SERVICE_TOKEN.total_seconds())
        return {"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": scope}

    async def _record(
        self,
        connection: AsyncConnection,
        client: Client,
        user: str | None,
        patient: str | None,
        consents: tuple[str, ...],
        jti: str,
        request_id: str,
    ) -> None:
        record = AuditRecord(
            kind="token",
            action="E",
            outcome="0",
            recorded=self._context.clock(),
            request_id=request_id,
            client_id=client.client_id,
            client_name=client.name,
            user=user,
            patient=patient,
            consents=consents,
            description=f"access token {jti}",
        )
        await self._context.audit.record(record, connection)


def _is_registered(client: Client, asked: str) -> bool:
    """Whether a scope for the client itself lies within its registration (SMART 2.2, backend services).

    `system/` scopes are for backend services: only these prove who they are with a key. Other clinical scopes
    need a person.
    """
    registered = client.scope.split(" ")
    scope = parse_scope(asked)
    if scope is None:
        return asked in registered
    if scope.context != "system" or client.kind != "backend":
        return False
    held = [own for text in registered if (own := parse_scope(text)) is not None and own.context == "system"]
    return any(intersection(own, scope) == scope for own in held)


def _narrowed(opened: OpenNow, asked: str | None) -> str:
    """RFC 6749 §6: a client may ask for less than it has. Raises OAuthError when it asks for anything else."""
    if asked is None:
        return opened.scope
    session, clinical, unknown = split_scope(asked)
    mine, _, _ = split_scope(opened.scope)
    parts: list[Scope] = []
    for scope in clinical:
        parts += [part for own in opened.clinical if (part := intersection(scope, own)) is not None]
    kept = [s for s in session if s in mine]
    text = " ".join(part for part in (*kept, format_as_asked(dict.fromkeys(parts), asked)) if part)
    if unknown or not text:
        raise OAuthError("invalid_scope", "`scope` must lie within what was granted")
    return text


def _request_id(request: Request) -> str:
    return str(request.scope.get("assent.request", {}).get("id", ""))
