"""Signs the audit record with the server's keys, and knows its keys again when they are long retired.

Rotation drops a retired key with its public half. So each signature is stored with the public key and a voucher: a MAC
over it under a key derived from the server's secret. Whoever can write to the database but hasn't the secret can
neither sign nor pass off a key of their own as the server's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jws

from authz.tokens.signing_keys import SigningKeys
from fhir.audit.signature import ALGORITHM, Signed, thumbprint


class AuditSigner:
    """The `fhir.audit.signature.Signer` of a server with these keys and this secret."""

    def __init__(self, keys: SigningKeys, secret: bytes) -> None:
        self._keys = keys
        self._mac_key = HKDF(SHA256(), 32, salt=None, info=b"assent audit keys").derive(secret)

    def sign(self, payload: bytes, typ: str) -> Signed:
        """As `Signer.sign`."""
        key = self._keys.signing(ALGORITHM)
        token = jws.serialize_compact({"alg": ALGORITHM, "typ": typ, "kid": key.kid}, payload, key.key, [ALGORITHM])
        return Signed(key.kid, token, key.public_jwk, self._voucher(key.public_jwk))

    def signing_key(self) -> dict[str, Any]:
        """As `Signer.signing_key`."""
        return self._keys.signing(ALGORITHM).public_jwk

    def vouches(self, public_jwk: Mapping[str, Any], voucher: bytes) -> bool:
        """As `Signer.vouches`."""
        try:
            return hmac.compare_digest(self._voucher(public_jwk), voucher)
        except ValueError:
            return False

    def published(self, kid: str) -> dict[str, Any] | None:
        """As `Signer.published`."""
        key = self._keys.find(kid)
        return None if key is None else key.public_jwk

    def _voucher(self, public_jwk: Mapping[str, Any]) -> bytes:
        named = f"{public_jwk.get('kid')}\n{thumbprint(public_jwk)}\n"
        return hmac.digest(self._mac_key, named.encode(), sha256)
