"""`/launch-contexts`: an EHR creates a launch, which an app then presents at `/authorize` (SMART App Launch 2.2).

SMART leaves open how EHR and authorization server agree on a launch; here the EHR says so with a token of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authz.authorize.launch_context_body import LaunchBodyRefused, check_launch_body
from authz.authorize.launch_contexts import LIFETIME, create_launch
from authz.clients.clients import find_client
from authz.context import AuthzContext
from authz.headers import presented_by
from authz.oauth_errors import NO_STORE
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.gate import TokenGate
from fhir.r4.strict_json import decode_once

LAUNCH_SCOPE: Final = "assent/launch.c"
_MAX_BODY: Final = 65_536


class LaunchEndpoint:
    """Answers `POST /launch-contexts`."""

    def __init__(self, context: AuthzContext, gate: TokenGate) -> None:
        self._context = context
        self._gate = gate

    async def __call__(self, request: Request) -> Response:
        """201 with the launch, or problem details (raised as HTTPException)."""
        ehr = await self._caller(request)
        body = await _read_json(request)
        client_id = body.pop("client_id", None)
        context = self._context
        try:
            launch_context = check_launch_body(body, context.fhir_base)
        except LaunchBodyRefused as refused:
            raise HTTPException(400, str(refused)) from refused
        async with context.engine.begin() as connection:
            known = not isinstance(client_id, str) or await find_client(connection, client_id) is not None
            if not known or not isinstance(client_id, str | None):
                raise HTTPException(400, "`client_id` must be that of a registered app")
            launch = await create_launch(connection, launch_context, ehr=ehr, client_id=client_id, now=context.clock())
        return JSONResponse({"launch": launch, "expires_in": int(LIFETIME.total_seconds())}, 201, NO_STORE)

    async def _caller(self, request: Request) -> str:
        """The EHR's client id, from a service token (RFC 6750 §3). Raises HTTPException."""
        found = await self._gate.claims(presented_by(request))
        if isinstance(found, TokenRefused):
            raise _refused(found.status, found.description, found.challenge())
        access, claims = found
        # A person's grant can't carry the scope; that it must be the EHR's own token doesn't hang on that alone.
        if access.grant_id or LAUNCH_SCOPE not in str(claims["scope"]).split(" "):
            scheme = "Bearer" if access.jkt is None else "DPoP"
            challenge = f'{scheme} error="insufficient_scope", scope="{LAUNCH_SCOPE}"'
            raise _refused(403, f"the token needs scope `{LAUNCH_SCOPE}`", challenge)
        return access.client_id


async def _read_json(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be `application/json`")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise HTTPException(413, f"the body may have at most {_MAX_BODY} bytes")
    try:
        return decode_once(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise HTTPException(400, "the body must be a JSON object in which no member stands twice") from broken


def _refused(status: int, description: str, challenge: str) -> HTTPException:
    return HTTPException(status, description, {"WWW-Authenticate": challenge, **NO_STORE})
