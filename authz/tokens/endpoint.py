"""`/token`: RFC 6749 §4.1.3, §4.4, §6, with PKCE (RFC 7636) and what SMART 2.2 adds to the answer.

Each grant type is one ordered function. A code or refresh token is taken by an UPDATE that only one request can win;
a second use ends everything that hangs on the grant (RFC 6749 §4.1.2, RFC 9700 §4.14.2). What proves possession is read
in `authz/tokens/request.py`; token exchange stands in `authz/tokens/exchange.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from authz import tables
from authz.authorize.launch_contexts import token_parameters
from authz.clients.authentication import authenticate_client
from authz.clients.clients import TOKEN_EXCHANGE, Client
from authz.consents.recorders import letters_of
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.headers import authorization_in
from authz.oauth_errors import NO_STORE, OAuthError, details_come_first, error_response
from authz.tokens.access_tokens import TokenClaims
from authz.tokens.dpop import wrong_proof
from authz.tokens.exchange import Subject, exchange, read_subject
from authz.tokens.gate import TokenGate
from authz.tokens.granted_details import granted_details
from authz.tokens.grants import Grant, revoke_grants
from authz.tokens.one_time_tokens import CODES, REFRESH_TOKENS, OneTimeToken, OneTimeTokens, Successor
from authz.tokens.request import TokenRequest, asked_by, token_answer, token_record
from authz.tokens.scope_narrowing import narrowed
from fhir.store.change_bus import Change
from smart.scope_intersection import intersection
from smart.scope_syntax import parse_scope, split_scope

_GRANT_TYPES: Final = ("authorization_code", "refresh_token", "client_credentials", TOKEN_EXCHANGE)
_SERVICE_TOKEN: Final = timedelta(minutes=5)
"""SMART 2.2, backend services: at most five minutes."""

_WRONG: Final = {
    CODES: "the code is unknown, expired, used, or another client's",
    REFRESH_TOKENS: "the refresh token is unknown, expired, used, revoked, or another client's",
}


class _EndGrant(Exception):
    """Something was used twice: its grant must end, although the request fails."""

    def __init__(self, grant_id: str, among: OneTimeTokens) -> None:
        super().__init__("used twice")
        self.grant_id, self.error = grant_id, _wrong(among)


class TokenEndpoint:
    """Answers `POST /token`."""

    def __init__(self, context: AuthzContext, gate: TokenGate) -> None:
        self._context = context
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors are RFC 6749 §5.2 JSON."""
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        try:
            answer = await self._answer(await read_form(request), request)
        except OAuthError as error:
            return error_response(error)
        return JSONResponse(answer, headers=NO_STORE)

    async def _answer(self, form: Mapping[str, str], request: Request) -> dict[str, Any]:
        context = self._context
        # Who asks is looked at before the answer.
        subject = await read_subject(self._gate, form)
        client = await authenticate_client(context, form, authorization_in(request), endpoint="/token")
        asked = await asked_by(client, form, request, context)
        try:
            return await self._by_grant_type(asked, subject)
        except _EndGrant as reuse:
            async with context.engine.begin() as connection:
                ended = await revoke_grants(connection, asked.now, tables.grant.c.id == reuse.grant_id)
            for grant_id in ended:
                context.tell(Change("grant", grant_id))
            raise reuse.error from None

    async def _by_grant_type(self, asked: TokenRequest, subject: Subject | None) -> dict[str, Any]:
        grant_type = asked.form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "`grant_type` is missing")
        if grant_type not in _GRANT_TYPES:
            raise OAuthError("unsupported_grant_type", "this `grant_type` is not supported")
        if grant_type not in asked.client.grant_types:
            raise OAuthError("unauthorized_client", "this client may not use this `grant_type`")
        if "authorization_details" in asked.form:
            raise details_come_first()
        if grant_type == TOKEN_EXCHANGE:
            return await exchange(self._context, asked, subject)
        if asked.form.get("resource", self._context.fhir_base).rstrip("/") != self._context.fhir_base:
            raise OAuthError("invalid_target", "`resource` must be the FHIR base URL")  # RFC 8707 §2.2
        if grant_type == "client_credentials":
            return await self._client_credentials(asked)
        if grant_type == "authorization_code":
            return await self._issue(asked, await self._code(asked), CODES)
        return await self._issue(asked, await self._refresh_token(asked), REFRESH_TOKENS)

    async def _code(self, asked: TokenRequest) -> OneTimeToken:
        client, form = asked.client, asked.form
        for name in ("code", "code_verifier"):
            if name not in form:
                raise OAuthError("invalid_request", f"`{name}` is missing")
        found = await CODES.find(self._context.engine, form["code"])
        if found is None or found.grant.client_id != client.client_id:
            raise _wrong(CODES)
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
        if found.used_at is not None:
            raise _EndGrant(found.grant.id, CODES)
        if found.expires_at <= asked.now:
            raise _wrong(CODES)
        return found

    async def _refresh_token(self, asked: TokenRequest) -> OneTimeToken:
        if "refresh_token" not in asked.form:
            raise OAuthError("invalid_request", "`refresh_token` is missing")
        found = await REFRESH_TOKENS.find(self._context.engine, asked.form["refresh_token"])
        if found is None or found.grant.client_id != asked.client.client_id or found.expires_at <= asked.now:
            raise _wrong(REFRESH_TOKENS)
        _check_key(asked, found.dpop_jkt)
        if found.x5t is not None and asked.x5t != found.x5t:
            raise OAuthError("invalid_grant", "the refresh token is bound to the certificate of another connection")
        if found.used_at is not None:
            raise _EndGrant(found.grant.id, REFRESH_TOKENS)
        return found

    async def _issue(self, asked: TokenRequest, redeemed: OneTimeToken, among: OneTimeTokens) -> dict[str, Any]:
        context, now, grant = self._context, asked.now, redeemed.grant
        # A code comes a moment after the decision.
        opened = await context.grants.now(grant, now, newest=among is CODES)
        if opened is None:
            raise OAuthError("invalid_grant", "the consent behind this grant has ended")
        scope = narrowed(opened, asked.form.get("scope"))
        if grant.fhir_user is None:  # SMART 2.2, identity data: who is no FHIR resource can't have the scope
            scope = " ".join(part for part in scope.split(" ") if part != "fhirUser")
        details = granted_details(context, opened, scope, grant.purpose)
        token, jti = context.tokens.mint(
            TokenClaims(
                client_id=asked.client.client_id,
                subject=grant.user_id,
                scope=scope,
                lifetime=context.lifetimes.access_token,
                grant_id=grant.id,
                patient=grant.patient_id,
                fhir_user=grant.fhir_user,
                purpose=grant.purpose,
                consents=opened.consents,
                jkt=asked.jkt,
                x5t=asked.x5t,
                not_after=None if grant.ends is None else int(grant.ends.timestamp()),
                details=details,
            )
        )
        lifetime = context.lifetimes.access_token
        if grant.ends is not None:
            lifetime = min(lifetime, grant.ends - now)
        answer = token_answer(token, scope, int(lifetime.total_seconds()), asked.jkt)
        answer |= token_parameters(grant.patient_id, grant.launch) | details
        successor = self._successor(asked) if grant.offline else None
        if successor is not None:
            answer["refresh_token"] = successor.text
        session, _, _ = split_scope(scope)
        if "openid" in session:
            answer["id_token"] = self._id_token(asked, grant, session)
        who = {"user": grant.fhir_user, "patient": grant.patient_id}
        async with context.engine.begin() as connection:
            # The record first, which begins the transaction. Of a token that isn't taken none is kept.
            record = token_record(context, asked, f"access token {jti}", consents=opened.consents, **who)
            await context.audit.record(record, connection)
            if not await among.take(connection, redeemed, now, successor):
                raise _EndGrant(grant.id, among)
        return answer

    def _successor(self, asked: TokenRequest) -> Successor:
        """RFC 9449 §5, RFC 8705 §4: those of public clients are bound; those of others are, by who they are."""
        is_public = asked.client.auth_methods == ("none",)
        jkt, x5t = (asked.jkt, asked.x5t) if is_public else (None, None)
        return Successor(self._context.lifetimes.refresh_token, jkt, x5t)

    def _id_token(self, asked: TokenRequest, grant: Grant, session: Sequence[str]) -> str:
        """OpenID Connect Core §2; SMART 2.2: RS256, `fhirUser` as an absolute URL."""
        context = self._context
        issued = int(asked.now.timestamp())
        fhir_user = grant.fhir_user if "fhirUser" in session or "profile" in session else None
        claims: dict[str, Any] = {
            "iss": context.issuer,
            "sub": grant.user_id,
            "aud": asked.client.client_id,
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
            claims["name"] = grant.display_name
        key = context.keys.signing("RS256")
        return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key.key, ["RS256"])

    async def _client_credentials(self, asked: TokenRequest) -> dict[str, Any]:
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
        await context.audit.record(token_record(context, asked, f"access token {jti}"))
        return token_answer(token, scope, int(_SERVICE_TOKEN.total_seconds()), asked.jkt)


def _wrong(among: OneTimeTokens) -> OAuthError:
    """One text for every reason."""
    return OAuthError("invalid_grant", _WRONG[among])


def _check_key(asked: TokenRequest, jkt: str | None) -> None:
    """What is bound to a key counts with it only. Before anything is taken: nobody else can use it up.

    Raises OAuthError.
    """
    if jkt is None or asked.jkt == jkt:
        return
    if asked.jkt is None:
        raise wrong_proof("this is bound to a key, and needs a DPoP proof by it")
    raise OAuthError("invalid_grant", "this is bound to another key than the one of the DPoP proof")


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
