"""Certificates of nobody in particular, and how proxies hand them on."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate with its key."""

    der: bytes
    private: bytes = field(repr=False)
    """PEM."""

    @classmethod
    def new(cls, host: str = "app") -> Self:
        """With a key of its own, for a server of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        named = dated.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        signed = named.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(signed.public_bytes(Encoding.DER), private)

    @property
    def pem(self) -> bytes:
        """As in a file."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)

    @property
    def escaped(self) -> str:
        """PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`."""
        return quote(self.pem.decode(), safe="")

    @property
    def structured(self) -> str:
        """RFC 9440 §2.1."""
        return f":{base64.b64encode(self.der).decode()}:"

    @property
    def x5t(self) -> str:
        """RFC 8705 §3.1, by hand."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.der).digest()).rstrip(b"=").decode()
