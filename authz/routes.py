"""The OAuth endpoints as routes. `/introspect` stands apart (`authz/introspection.py`): it is a hot path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from authz.access_tokens import TokenRefused
from authz.accounts import load_account
from authz.authorization_requests import (
    NotRedirectable,
    check_request,
    client_of,
    keep_request,
    redirect_with,
    with_launch,
    with_sign_in,
)
from authz.client_management import ManagementEndpoint
from authz.context import AuthzContext
from authz.form_parameters import read_form, read_query
from authz.launch_endpoint import LaunchEndpoint
from authz.oauth_errors import NO_STORE, OAuthError
from authz.registration import RegistrationEndpoint
from authz.revocation import RevocationEndpoint
from authz.token_endpoint import TokenEndpoint
from authz.token_gate import TokenGate
from smart.discovery import openid_configuration, smart_configuration
from smart.scope_syntax import split_scope

ErrorPage = Callable[[Request, str], Response]
"""A page for a person, in their language: status 400, with the text for the app's developer."""
_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}


def oauth_router(
    context: AuthzContext, gate: TokenGate, error_page: ErrorPage, announced: Mapping[str, Any]
) -> APIRouter:
    """All OAuth and discovery routes but `/introspect`. `announced`: what else SMART discovery says."""
    router = APIRouter(tags=["OAuth 2.0"])
    token, revoke, register = TokenEndpoint(context), RevocationEndpoint(context), RegistrationEndpoint(context)
    manage = ManagementEndpoint(context)
    launch = LaunchEndpoint(context, gate)

    @router.get("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    @router.post("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    async def authorize(request: Request) -> Response:
        try:
            if request.method == "POST":
                parameters = await read_form(request)
            else:
                query = request.scope["query_string"]
                parameters = read_query(query)
        except OAuthError as error:
            return error_page(request, error.description)
        return await _authorize(context, parameters, partial(error_page, request))

    @router.post("/token", summary="Exchange a code, refresh, or get a service token (RFC 6749)")
    async def token_endpoint(request: Request) -> Response:
        return await token(request)

    @router.post("/revoke", summary="Revoke a token (RFC 7009)")
    async def revoke_endpoint(request: Request) -> Response:
        return await revoke(request)

    @router.post("/register", summary="Register a client (RFC 7591)", status_code=201)
    async def register_endpoint(request: Request) -> Response:
        return await register(request)

    @router.get("/register/{client_id}", summary="Read an app's own registration (RFC 7592)")
    @router.put("/register/{client_id}", summary="Change an app's own registration (RFC 7592)")
    @router.delete("/register/{client_id}", summary="End an app's own registration (RFC 7592)", status_code=204)
    async def manage_endpoint(request: Request, client_id: str) -> Response:
        return await manage(request, client_id)

    @router.post("/launch-contexts", summary="Create a launch for an app (SMART 2.2, EHR launch)", status_code=201)
    async def launch_endpoint(request: Request) -> Response:
        return await launch(request)

    @router.get("/userinfo", summary="Who the signed-in person is (OpenID Connect Core §5.3)")
    @router.post("/userinfo", summary="Who the signed-in person is (OpenID Connect Core §5.3)")
    async def userinfo(request: Request) -> Response:
        return await _userinfo(context, gate, request.headers.get("authorization"))

    @router.get("/jwks", summary="Public keys (RFC 7517)")
    async def jwks() -> Response:
        return JSONResponse(context.keys.jwks(), headers=_PUBLIC)

    registration = context.open_registration
    smart = {**smart_configuration(context.issuer, registration=registration), **announced}
    documents = {
        "/fhir/.well-known/smart-configuration": smart,
        "/.well-known/smart-configuration": smart,
        "/.well-known/openid-configuration": openid_configuration(context.issuer, registration=registration),
        "/.well-known/oauth-authorization-server": openid_configuration(context.issuer, registration=registration),
    }
    for path, document in documents.items():
        router.add_api_route(path, _serve(document), methods=["GET"], summary="Discovery")
    return router


def _serve(document: Mapping[str, Any]) -> Callable[[], Response]:
    def answer() -> Response:
        return JSONResponse(document, headers=_PUBLIC)

    return answer


async def _authorize(
    context: AuthzContext, parameters: Mapping[str, str], error_page: Callable[[str], Response]
) -> Response:
    """Client and redirect URI first; only then may an error be sent there."""
    async with context.engine.begin() as connection:
        try:
            client, uri = await client_of(connection, parameters)
        except NotRedirectable as wrong:
            return error_page(str(wrong))
        try:
            checked = check_request(client, uri, parameters, audience=context.fhir_base, catalogue=context.catalogue)
            checked = with_sign_in(checked, parameters, context.clock(), context.lifetimes.sign_in)
            checked = await with_launch(connection, checked, parameters.get("launch"), context.clock())
        except OAuthError as error:
            answer = {"error": error.error, "error_description": error.description}
            state = parameters.get("state")
            state = state if state is None or len(state) <= 2_000 else None
            return _redirect(redirect_with(uri, state, context.issuer, answer))
        handle = await keep_request(connection, checked, context.clock(), context.lifetimes.request)
    return _redirect(f"{context.issuer}/authorize/continue?request={handle}")


def _redirect(url: str) -> Response:
    return RedirectResponse(url, 303, {**NO_STORE, "Referrer-Policy": "no-referrer"})


async def _userinfo(context: AuthzContext, gate: TokenGate, authorization: str | None) -> Response:
    access = await gate.access(authorization)
    if isinstance(access, TokenRefused):
        challenge = f'Bearer error="{access.error}"' if access.error else "Bearer"
        return Response(status_code=access.status, headers={"WWW-Authenticate": challenge, **NO_STORE})
    found = await gate.live((authorization or "").partition(" ")[2])
    session = () if isinstance(found, TokenRefused) else split_scope(found[1]["scope"])[0]
    async with context.engine.connect() as connection:
        account = await load_account(connection, access.subject)
    if account is None or "openid" not in session:
        challenge = 'Bearer error="insufficient_scope", scope="openid"'
        return Response(status_code=403, headers={"WWW-Authenticate": challenge, **NO_STORE})
    claims = {"sub": account.id}
    if account.fhir_user is not None and "fhirUser" in session:
        claims["fhirUser"] = f"{context.fhir_base}/{account.fhir_user}"
    if "profile" in session:
        claims["name"] = account.display_name
    return JSONResponse(claims, headers=NO_STORE)
