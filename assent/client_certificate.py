"""The certificate with which a client connected, as the TLS proxy before us hands it on (RFC 8705; RFC 9440).

Only the thumbprint goes on, in `scope["assent.certificate"]`; the header itself never does, whoever sent it. It is
believed by who is connected, so this stands before `X-Forwarded-For` is heeded.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from assent.asgi import App, Receive, Scope, Send

CERTIFICATE_KEY: Final = "assent.certificate"
_MAX_LENGTH: Final = 16_384
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class ClientCertificate:
    """ASGI middleware; outside of everything that changes who is connected."""

    def __init__(self, app: App, header: str, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._header = header.lower().encode("ascii")
        self._proxies = tuple(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the thumbprint in place of the header."""
        if scope["type"] == "http":
            given = [value for name, value in scope["headers"] if name.lower() == self._header]
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != self._header]
            trusted = len(given) == 1 and self._is_proxy(scope.get("client"))
            scope = {**scope, "headers": kept, CERTIFICATE_KEY: thumbprint(given[0]) if trusted else None}
        await self._app(scope, receive, send)

    def _is_proxy(self, peer: Sequence[object] | None) -> bool:
        try:
            address = ip_address(str(peer[0])) if peer else None
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address is not None and any(address in network for network in self._proxies)


@lru_cache(maxsize=1_000)
def thumbprint(value: bytes) -> str | None:
    """`x5t#S256` (RFC 8705 §3.1) of one certificate: PEM, percent-encoded as nginx does, or `:base64:` (RFC 9440 §2.1).

    None for anything else.
    """
    if len(value) > _MAX_LENGTH:
        return None
    try:
        text = value.decode("ascii").strip()
        if len(text) > 1 and text.startswith(":") and text.endswith(":"):
            certificate = x509.load_der_x509_certificate(base64.b64decode(text[1:-1], validate=True))
        else:
            pem = unquote_to_bytes(text)
            if pem.count(_BEGIN) != 1:
                return None
            certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion):
        return None
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
