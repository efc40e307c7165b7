"""A request to `/token` once its client is known, and what of it goes on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request

from authz.clients.clients import CERTIFICATE, DPOP, Client
from authz.context import AuthzContext
from authz.headers import certificate_of, proof_in
from authz.oauth_errors import OAuthError
from authz.tokens.dpop import proven_key, wrong_proof
from fhir.audit.event import AuditRecord


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Who asks for a token, and for what."""

    client: Client
    form: Mapping[str, str]
    now: datetime
    request_id: str
    jkt: str | None
    """Thumbprint of the key that the client proved to have; the token will be bound to it (RFC 9449 §5)."""
    x5t: str | None
    """Thumbprint of the certificate to which it will be bound (RFC 8705 §3)."""


async def asked_by(client: Client, form: Mapping[str, str], request: Request, context: AuthzContext) -> TokenRequest:
    """The request with its proof of possession, which is used up with this. Raises OAuthError."""
    now = context.clock()
    jkt = await proven_key(context.engine, proof_in(request), url=f"{context.issuer}/token", now=now)
    if jkt is None and DPOP in client.requires:
        raise wrong_proof("this client's requests for tokens need a DPoP proof")
    x5t = certificate_of(request) if CERTIFICATE in client.requires else None
    if x5t is None and CERTIFICATE in client.requires:
        raise OAuthError("invalid_request", "this client's requests for tokens need its TLS certificate")
    return TokenRequest(client, form, now, request_id_of(request), jkt, x5t)


def token_answer(token: str, scope: str, seconds: int, jkt: str | None) -> dict[str, Any]:
    """What every answer of `/token` holds (RFC 6749 §5.1, RFC 9449 §5)."""
    kind = "Bearer" if jkt is None else "DPoP"
    return {"access_token": token, "token_type": kind, "expires_in": seconds, "scope": scope}


def token_record(
    context: AuthzContext,
    asked: TokenRequest,
    description: str,
    *,
    user: str | None = None,
    patient: str | None = None,
    consents: tuple[str, ...] = (),
) -> AuditRecord:
    """The record of a token that is given out."""
    return AuditRecord(
        kind="token",
        action="E",
        outcome="0",
        recorded=context.clock(),
        request_id=asked.request_id,
        client_id=asked.client.client_id,
        client_name=asked.client.name,
        user=user,
        patient=patient,
        consents=consents,
        description=description,
    )


def request_id_of(request: Request) -> str:
    """The id under which the request stands in logs and records."""
    return str(request.scope.get("assent.request", {}).get("id", ""))
