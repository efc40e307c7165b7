"""The OAuth endpoints as routes. `/introspect` and `/token` stand apart (`authz/introspection.py`,
`authz/token_endpoint.py`): they are hot paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from authz.access_tokens import TokenRefused
from authz.accounts import load_account
from authz.authorization_endpoint import AuthorizationEndpoint, ErrorPage
from authz.client_management import ManagementEndpoint
from authz.context import AuthzContext
from authz.headers import presented_by
from authz.launch_endpoint import LaunchEndpoint
from authz.oauth_errors import NO_STORE
from authz.pushed_requests import PushEndpoint
from authz.registration import RegistrationEndpoint
from authz.revocation import RevocationEndpoint
from authz.token_gate import TokenGate
from fhir.presented_token import PresentedToken
from smart.discovery import openid_configuration, smart_configuration
from smart.scope_syntax import split_scope

_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}


def oauth_router(
    context: AuthzContext, gate: TokenGate, error_page: ErrorPage, announced: Mapping[str, Any]
) -> APIRouter:
    """All OAuth and discovery routes but `/introspect` and `/token`. `announced`: what else SMART discovery says."""
    router = APIRouter(tags=["OAuth 2.0"])
    revoke, register = RevocationEndpoint(context), RegistrationEndpoint(context)
    begin, push, manage = AuthorizationEndpoint(context, error_page), PushEndpoint(context), ManagementEndpoint(context)
    launch = LaunchEndpoint(context, gate)

    @router.get("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    @router.post("/authorize", summary="Begin an authorization (RFC 6749, SMART 2.2)")
    async def authorize(request: Request) -> Response:
        return await begin(request)

    @router.post("/par", summary="Push an authorization request (RFC 9126)", status_code=201)
    async def push_endpoint(request: Request) -> Response:
        return await push(request)

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
        return await _userinfo(context, gate, presented_by(request))

    @router.get("/jwks", summary="Public keys (RFC 7517)")
    async def jwks() -> Response:
        return JSONResponse(context.keys.jwks(), headers=_PUBLIC)

    registration = context.open_registration or context.statements.are_taken
    offered = {"registration": registration, "certificates": context.client_certificates, "writes": context.writes}
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
    return router


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
