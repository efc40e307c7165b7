"""`/introspect`: RFC 7662 with what SMART 2.2 and IHE add. Plain ASGI: gateways ask for every request they serve.

`scope` is what is open now, after consent. Whatever isn't active is exactly `{"active": false}`, whyever.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from authz.authorize.launch_contexts import token_parameters
from authz.clients.authentication import authenticate_client
from authz.context import AuthzContext
from authz.form_parameters import read_form
from authz.headers import authorization_in, presented_by
from authz.oauth_errors import NO_STORE, OAuthError, error_response
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.gate import TokenGate
from authz.tokens.granted_details import granted_details
from authz.tokens.grants import OpenNow
from authz.tokens.pcf_rules import pcf_rules, residual_said
from authz.tokens.scope_narrowing import still_open
from policies.codes import ACT_REASON_SYSTEM
from policies.model import Access
from policies.residual import CLOSED

INTROSPECT_SCOPE: Final = "assent/introspect"
_INACTIVE: Final = {"active": False}
_REPEATED: Final = ("client_id", "exp", "iat", "iss", "sub", "aud", "jti")


class Introspection:
    """ASGI application for `POST /introspect`."""

    def __init__(self, context: AuthzContext, gate: TokenGate) -> None:
        self._context = context
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        try:
            form = await read_form(request)
            await self._check_caller(request, form)
            if "token" not in form:
                raise OAuthError("invalid_request", "`token` is missing")
        except OAuthError as error:
            return error_response(error)
        return JSONResponse(await self._describe(form["token"]), headers=NO_STORE)

    async def _check_caller(self, request: Request, form: Any) -> None:
        """A gateway client, or an access token with scope `assent/introspect`. Raises OAuthError."""
        authorization = authorization_in(request)
        if authorization is not None and authorization.partition(" ")[0].lower() in ("bearer", "dpop"):
            caller = await self._gate.claims(presented_by(request))
            if isinstance(caller, TokenRefused):
                raise OAuthError(caller.error, caller.description, status=401)
            if INTROSPECT_SCOPE not in str(caller[1]["scope"]).split(" "):
                raise OAuthError("insufficient_scope", f"the token needs scope `{INTROSPECT_SCOPE}`", status=403)
            return
        client = await authenticate_client(self._context, form, authorization, endpoint="/introspect")
        if client.kind != "gateway":
            raise OAuthError("unauthorized_client", "only a gateway may introspect tokens", status=403)

    async def _describe(self, token: str) -> dict[str, Any]:
        found = await self._gate.live(token)
        if isinstance(found, TokenRefused):
            return _INACTIVE
        access, claims = found
        answer: dict[str, Any] = {"active": True, "token_type": "Bearer", "scope": claims["scope"]}
        if "cnf" in claims:  # RFC 9449 §6.2, RFC 8705 §3.2: who asks must check the proof, or the certificate
            answer |= {"token_type": "Bearer" if access.jkt is None else "DPoP", "cnf": claims["cnf"]}
        answer |= {name: claims[name] for name in _REPEATED}
        if access.actors:  # RFC 8693 §4.1
            answer["act"] = claims["act"]
        if access.grant_id:
            grants = self._context.grants
            grant = await grants.find(access.grant_id)
            opened = None if grant is None else await grants.now(grant, self._context.clock())
            if grant is None or opened is None:
                return _INACTIVE
            answer["scope"] = still_open(claims["scope"], opened)
            answer["consent"] = [{"reference": reference} for reference in opened.consents]
            answer["extensions"] = self._extensions(access, opened)
            answer |= token_parameters(access.patient, grant.launch)
            answer |= granted_details(self._context, opened, answer["scope"], access.purpose, access.within)
        elif access.scopes:
            # Whose data they open hangs on the consents of each patient, which the proxy asks and a gateway can't.
            answer["extensions"] = {
                "ihe_iua": _iua(access),
                "ihe_pcf": {"residual": residual_said(CLOSED, self._context.fhir_base)},
            }
        if access.user is not None:
            answer["fhirUser"] = f"{self._context.fhir_base}/{access.user}"
        return answer

    def _extensions(self, access: Access, opened: OpenNow) -> dict[str, Any]:
        """IHE IUA §3.103.4.1.3 and PCF 1.1 §3.71.4.2.2.1.4: for gateways that enforce themselves."""
        base = self._context.fhir_base
        iua = _iua(access) | {"person_id": access.patient, "subject_name": access.subject}
        extensions: dict[str, Any] = {"ihe_iua": iua}
        if opened.consents or opened.residual:
            extensions["ihe_pcf"] = {"patient_id": f"{base}/Patient/{access.patient}"} | pcf_rules(opened, base)
        return extensions


def _iua(access: Access) -> dict[str, Any]:
    purpose = {"system": ACT_REASON_SYSTEM, "code": access.purpose}
    return {"purpose_of_use": [purpose]}
