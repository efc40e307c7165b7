"""An access token as a request presents it, with what may have to prove whose it is (RFC 6750 §2.1, RFC 9449 §7.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """What a token is judged by. Nothing here has been looked at."""

    authorization: str | None
    """The Authorization header."""
    method: str
    path: str
    """Undecoded and without the query, below the server's public URL: `/fhir/Patient/p1`."""
    dpop: str | None = None
    """The DPoP header."""
    certificate: str | None = None
    """Thumbprint of the certificate with which the client connected (RFC 8705 §3.1)."""
