"""A client that proves possession of a key, with python-jose where that can sign (RFC 9449 §4.2)."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from jose import jws as jose_jws
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Prover:
    """One key and what it signs."""

    key: ECKey | RSAKey
    alg: str

    @classmethod
    def new(cls, alg: str = "ES256") -> Self:
        """A key of its own."""
        return cls(ECKey.generate_key(_CURVES[alg]) if alg in _CURVES else RSAKey.generate_key(2048), alg)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, with what belongs to it and nothing else."""
        public = self.key.as_dict(private=False)
        return {name: public[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in public}

    @property
    def jkt(self) -> str:
        """RFC 7638, by hand."""
        return base64url(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def claims(self, method: str, url: str, token: str | None = None) -> dict[str, Any]:
        """Those of a proof that is right."""
        claims: dict[str, Any] = {"jti": str(uuid4()), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            claims["ath"] = base64url(hashlib.sha256(token.encode()).digest())
        return claims

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A JWT; a member of the header that is None goes."""
        members = {"typ": "dpop+jwt", "jwk": self.jwk, **header}
        kept = {name: value for name, value in members.items() if value is not None}
        if self.alg in ("PS256", "ES512"):
            lenient = jws.JWSRegistry(algorithms=[self.alg], strict_check_header=False)
            lenient.max_header_length = 8_192
            return jws.serialize_compact({"alg": self.alg, **kept}, json.dumps(claims), self.key, registry=lenient)
        private = self.key.as_pem(private=True).decode()
        signed: str = jose_jws.sign(claims, private, headers=kept, algorithm=self.alg)
        return signed

    def proof(self, method: str, url: str, token: str | None = None, **change: Any) -> str:
        """A proof; a claim that is None goes."""
        claims = {**self.claims(method, url, token), **change}
        return self.sign({name: value for name, value in claims.items() if value is not None})
