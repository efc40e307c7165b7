"""The OAuth endpoints as routes. `/introspect` and `/token` stand apart (`authz/tokens/introspection.py`,
`authz/tokens/endpoint.py`): they are hot paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from authz.authorize.endpoint import AuthorizationEndpoint, ErrorPage
from authz.authorize.launch_endpoint import LaunchEndpoint
from authz.authorize.pushed_requests import PushEndpoint
from authz.clients.management import ManagementEndpoint
from authz.clients.registration import RegistrationEndpoint
from authz.context import AuthzContext
from authz.headers import presented_by
from authz.oauth_errors import NO_STORE
from authz.sign_in.accounts import load_account
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.gate import TokenGate
from authz.tokens.revocation import RevocationEndpoint
from fhir.proxy.presented_token import PresentedToken
from smart.discovery import openid_configuration, smart_configuration
from smart.scope_syntax import split_scope

_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}


def oauth_router(
    context: AuthzContext, gate: TokenGate, error_page: ErrorPage, announced: Mapping[str, Any]
) -> APIRouter:
    """All OAuth and discovery routes but `/introspect` and `/token`. `announced`: what else SMART discovery says."""
    router = APIRouter(tags=["OAuth 2.0"])
    _add_authorization(router, context, error_page)
    _add_revocation(router, context)
    _add_registration(router, context)
    _add_launches(router, context, gate)
    _add_identity(router, context, gate)
    _add_discovery(router, context, announced)
    return router


def _add_authorization(router: APIRouter, context: AuthzContext, error_page: ErrorPage) -> None:
    begin, push = AuthorizationEndpoint(context, error_page), PushEndpoint(context)

    @router.get("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    @router.post("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    async def authorize(request: Request) -> Response:
        return await begin(request)

    @router.post("/par", summary="Push an authorization request (RFC 9126)", status_code=201)
    async def push_endpoint(request: Request) -> Response:
        return await push(request)


def _add_revocation(router: APIRouter, context: AuthzContext) -> None:
    revoke = RevocationEndpoint(context)

    @router.post("/revoke", summary="Revoke a token (RFC 7009)")
    async def revoke_endpoint(request: Request) -> Response:
        return await revoke(request)


def _add_registration(router: APIRouter, context: AuthzContext) -> None:
    register, manage = RegistrationEndpoint(context), ManagementEndpoint(context)

    @router.post("/register", summary="Register a client (RFC 7591)", status_code=201)
    async def register_endpoint(request: Request) -> Response:
        return await register(request)

    @router.get("/register/{client_id}", summary="Read an app's own registration (RFC 7592)")
    @router.put("/register/{client_id}", summary="Change an app's own registration (RFC 7592)")
    @router.delete("/register/{client_id}", summary="End an app's own registration (RFC 7592)", status_code=204)
    async def manage_endpoint(request: Request, client_id: str) -> Response:
        return await manage(request, client_id)


def _add_launches(router: APIRouter, context: AuthzContext, gate: TokenGate) -> None:
    launch = LaunchEndpoint(context, gate)

    @router.post("/launch-contexts", summary="Create a launch for an app (SMART 2.2, EHR launch)", status_code=201)
    async def launch_endpoint(request: Request) -> Response:
        return await launch(request)


def _add_identity(router: APIRouter, context: AuthzContext, gate: TokenGate) -> None:
    @router.get("/userinfo", summary="Who the signed-in person is (OpenID Connect Core §5.3)")
    @router.post("/userinfo", summary="Who the signed-in person is (OpenID Connect Core §5.3)")
    async def userinfo(request: Request) -> Response:
        return await _userinfo(context, gate, presented_by(request))

    @router.get("/jwks", summary="Public keys (RFC 7517)")
    async def jwks() -> Response:
        return JSONResponse(context.keys.jwks(), headers=_PUBLIC)


def _add_discovery(router: APIRouter, context: AuthzContext, announced: Mapping[str, Any]) -> None:
    offered = {
        "registration": context.registers_apps,
        "certificates": context.client_certificates,
        "writes": context.writes,
    }
    smart = {**smart_configuration(context.issuer, **offered), **announced}
    openid = openid_configuration(context.issuer, **offered)
    documents = {
        "/fhir/.well-known/smart-configuration": smart,
        "/.well-known/smart-configuration": smart,
        "/.well-known/openid-configuration": openid,
        "/.well-known/oauth-authorization-server": openid,
    }
    for path, document in documents.items():
        router.add_api_route(path, _serve(document), methods=["GET"], summary="Discovery")


def _serve(document: Mapping[str, Any]) -> Callable[[], Response]:
    def answer() -> Response:
        return JSONResponse(document, headers=_PUBLIC)

    return answer


async def _userinfo(context: AuthzContext, gate: TokenGate, presented: PresentedToken) -> Response:
    found = await gate.claims(presented)
    if isinstance(found, TokenRefused):
        return Response(status_code=found.status, headers={"WWW-Authenticate": found.challenge(), **NO_STORE})
    access, session = found[0], split_scope(found[1]["scope"])[0]
    async with context.engine.connect() as connection:
        account = await load_account(connection, access.subject)
    if account is None or "openid" not in session:
        scheme = "Bearer" if access.jkt is None else "DPoP"
        challenge = f'{scheme} error="insufficient_scope", scope="openid"'
        return Response(status_code=403, headers={"WWW-Authenticate": challenge, **NO_STORE})
    claims = {"sub": account.id}
    if account.fhir_user is not None and "fhirUser" in session:
        claims["fhirUser"] = f"{context.fhir_base}/{account.fhir_user}"
    if "profile" in session:
        claims["name"] = account.display_name
    return JSONResponse(claims, headers=NO_STORE)
