"""`/token`: RFC 6749 §4.1.3, §4.4, §6, with PKCE (RFC 7636) and what SMART 2.2 adds to the answer.

Each grant type is one ordered function. A code or refresh token is taken by an UPDATE that only one request can win;
a second use ends everything that hangs on the grant (RFC 6749 §4.1.2, RFC 9700 §4.14.2). What proves possession is read
in `authz/tokens/request.py`; token exchange stands in `authz/tokens/exchange.py`.
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
from authz.authorize.launch_contexts import token_parameters
from authz.clients.assertion import fetch_keys
from authz.clients.authentication import authenticate_client
from authz.clients.clients import TOKEN_EXCHANGE, Client
from authz.consents.recorders import letters_of
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.oauth_errors import NO_STORE, OAuthError, error_response, no_details
from authz.opaque_secret import hash_of
from authz.sign_in.accounts import load_account
from authz.tokens.access_tokens import TokenClaims
from authz.tokens.dpop import wrong_proof
from authz.tokens.exchange import Subject, exchange, read_subject
from authz.tokens.gate import TokenGate
from authz.tokens.grants import Grant, find_grant, new_refresh_token, open_now, revoke_grants
from authz.tokens.request import TokenRequest, asked_by, record_token, token_answer
from authz.tokens.scope_narrowing import narrowed
from fhir.store.change_bus import Change
from smart.scope_intersection import intersection
from smart.scope_syntax import parse_scope, split_scope

_GRANT_TYPES: Final = ("authorization_code", "refresh_token", "client_credentials", TOKEN_EXCHANGE)
_SERVICE_TOKEN: Final = timedelta(minutes=5)
"""SMART 2.2, backend services: at most five minutes."""


class _EndGrant(Exception):
    """Something was used twice: its grant must end, although the request fails."""

    def __init__(self, grant_id: str, error: OAuthError) -> None:
        super().__init__(error.description)
        self.grant_id, self.error = grant_id, error


class TokenEndpoint:
    """Answers `POST /token`."""

    def __init__(self, context: AuthzContext, gate: TokenGate) -> None:
        self._context = context
        self._gate = gate

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
        # Both ask the database themselves, so before a connection is held; who asks is looked at before the answer.
        subject = await read_subject(self._gate, form)
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
                asked = await asked_by(connection, client, form, request, context)
                answer = await self._by_grant_type(connection, asked, subject)
                await connection.commit()
                return answer
        except _EndGrant as reuse:
            async with context.engine.begin() as connection:
                ended = await revoke_grants(connection, now, tables.grant.c.id == reuse.grant_id)
            for grant_id in ended:
                context.tell(Change("grant", grant_id))
            raise reuse.error from None

    async def _by_grant_type(
        self, connection: AsyncConnection, asked: TokenRequest, subject: Subject | None
    ) -> dict[str, Any]:
        grant_type = asked.form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "`grant_type` is missing")
        if grant_type not in _GRANT_TYPES:
            raise OAuthError("unsupported_grant_type", "this `grant_type` is not supported")
        if grant_type not in asked.client.grant_types:
            raise OAuthError("unauthorized_client", "this client may not use this `grant_type`")
        if "authorization_details" in asked.form:
            raise no_details()
        if grant_type == TOKEN_EXCHANGE:
            return await exchange(connection, self._context, asked, subject)
        if grant_type == "client_credentials":
            return await self._client_credentials(connection, asked)
        if grant_type == "authorization_code":
            grant = await self._take_code(connection, asked)
        else:
            grant = await self._take_refresh_token(connection, asked)
        return await self._issue(connection, asked, grant)

    async def _take_code(self, connection: AsyncConnection, asked: TokenRequest) -> Grant:
        client, form, now = asked.client, asked.form, asked.now
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
        _check_key(asked, found.dpop_jkt)
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

    async def _take_refresh_token(self, connection: AsyncConnection, asked: TokenRequest) -> Grant:
        client, form, now = asked.client, asked.form, asked.now
        if "refresh_token" not in form:
            raise OAuthError("invalid_request", "`refresh_token` is missing")
        r = tables.refresh_token
        found = (await connection.execute(select(r).where(r.c.token_hash == hash_of(form["refresh_token"])))).first()
        grant = None if found is None else await find_grant(connection, found.grant_id)
        wrong = OAuthError("invalid_grant", "the refresh token is unknown, expired, used, revoked, or another client's")
        if found is None or grant is None or grant.client_id != client.client_id or found.expires_at <= now:
            raise wrong
        _check_key(asked, found.dpop_jkt)
        if found.x5t is not None and asked.x5t != found.x5t:
            raise OAuthError("invalid_grant", "the refresh token is bound to the certificate of another connection")
        taken = await connection.execute(
            update(r).where(r.c.token_hash == found.token_hash, r.c.used_at.is_(None)).values(used_at=now)
        )
        if not taken.rowcount:
            raise _EndGrant(grant.id, wrong)
        return grant

    async def _issue(self, connection: AsyncConnection, asked: TokenRequest, grant: Grant) -> dict[str, Any]:
        context, client, now = self._context, asked.client, asked.now
        opened = await open_now(connection, context.repository, context.catalogue, grant, now, writes=context.writes)
        account = await load_account(connection, grant.user_id)
        if opened is None or account is None:
            raise OAuthError("invalid_grant", "the consent behind this grant has ended")
        scope = narrowed(opened, asked.form.get("scope"))
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
                jkt=asked.jkt,
                x5t=asked.x5t,
                not_after=None if grant.ends is None else int(grant.ends.timestamp()),
            )
        )
        lifetime = context.lifetimes.access_token
        if grant.ends is not None:
            lifetime = min(lifetime, grant.ends - now)
        answer = token_answer(token, scope, int(lifetime.total_seconds()), asked.jkt)
        answer |= token_parameters(grant.patient_id, grant.launch)
        if grant.offline:
            answer["refresh_token"] = await new_refresh_token(
                connection, grant.id, now, context.lifetimes.refresh_token, **_bound_refresh(asked)
            )
        if "openid" in session:
            answer["id_token"] = self._id_token(client, grant, account.id, account.display_name, fhir_user, now)
        who = {"user": account.fhir_user, "patient": grant.patient_id}
        await record_token(connection, context, asked, f"access token {jti}", consents=opened.consents, **who)
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

    async def _client_credentials(self, connection: AsyncConnection, asked: TokenRequest) -> dict[str, Any]:
        """RFC 6749 §4.4: scopes that lie within those registered for the client, no more."""
        client = asked.client
        wanted = asked.form.get("scope", client.scope).split(" ")
        scope = " ".join(text for text in dict.fromkeys(wanted) if text and _is_registered(client, text))
        if not scope:
            raise OAuthError("invalid_scope", "no scope was asked for that is registered for this client")
        context = self._context
        purpose = next(iter(client.purposes), "")
        claims = TokenClaims(
            client_id=client.client_id,
            subject=client.client_id,
            scope=scope,
            lifetime=_SERVICE_TOKEN,
            purpose=purpose,
            jkt=asked.jkt,
            x5t=asked.x5t,
        )
        token, jti = context.tokens.mint(claims)
        await record_token(connection, context, asked, f"access token {jti}")
        return token_answer(token, scope, int(_SERVICE_TOKEN.total_seconds()), asked.jkt)


def _check_key(asked: TokenRequest, jkt: str | None) -> None:
    """What is bound to a key counts with it only. Before anything is taken: nobody else can use it up.

    Raises OAuthError.
    """
    if jkt is None or asked.jkt == jkt:
        return
    if asked.jkt is None:
        raise wrong_proof("this is bound to a key, and needs a DPoP proof by it")
    raise OAuthError("invalid_grant", "this is bound to another key than the one of the DPoP proof")


def _bound_refresh(asked: TokenRequest) -> dict[str, str | None]:
    """RFC 9449 §5, RFC 8705 §4: refresh tokens of public clients are bound; those of others are, by who they are."""
    is_public = asked.client.auth_methods == ("none",)
    return {"jkt": asked.jkt if is_public else None, "x5t": asked.x5t if is_public else None}


def _is_registered(client: Client, asked: str) -> bool:
    """Whether a scope for the client itself lies within its registration (SMART 2.2, backend services).

    `system/` scopes are for backend services: only these prove who they are with a key. Other clinical scopes
    need a person. Nor does anybody else keep consents.
    """
    registered = client.scope.split(" ")
    scope = parse_scope(asked)
    if scope is None:
        return asked in registered and (client.kind == "backend" or not letters_of(asked))
    if scope.context != "system" or client.kind != "backend":
        return False
    held = [own for text in registered if (own := parse_scope(text)) is not None and own.context == "system"]
    return any(intersection(own, scope) == scope for own in held)
