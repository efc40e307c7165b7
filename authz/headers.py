"""Headers that the endpoints read: the access token as it is presented, and the proof beside it."""

from __future__ import annotations

from starlette.requests import Request

from fhir.proxy.presented_token import PresentedToken


def authorization_in(request: Request) -> str | None:
    """The Authorization header. Two of them are none that could be right (RFC 9110 §5.3, docs/leaks.md L72).

    A proxy in front may have looked at the other one.
    """
    sent = request.headers.getlist("authorization")
    return ", ".join(sent) if sent else None


def proof_in(request: Request) -> str | None:
    """The DPoP header. Two of them are none that could be right (RFC 9449 §4.3)."""
    sent = request.headers.getlist("dpop")
    return ", ".join(sent) if sent else None


def certificate_of(request: Request) -> str | None:
    """Thumbprint of the certificate with which the client connected, by the word of a trusted proxy."""
    found: str | None = request.scope.get("assent.certificate")
    return found


def presented_by(request: Request) -> PresentedToken:
    """The token of a request to one of the server's own endpoints."""
    path = request.scope["path"]
    return PresentedToken(authorization_in(request), request.method, path, proof_in(request), certificate_of(request))
