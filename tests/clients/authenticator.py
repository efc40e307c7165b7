"""An authenticator of software: makes a passkey and answers with it, truly or as a test says (WebAuthn Level 3 §6)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

USER_PRESENT, USER_VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass(slots=True)
class Authenticator:
    """Holds one passkey."""

    origin: str
    rp_id: str
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user: bytes = b""
    count: int = 0

    def create(self, options: str, **lies: Any) -> str:
        """Answer `navigator.credentials.create`; `lies` are as in `_data`."""
        asked = json.loads(options)
        self.user = _bytes(asked["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(cose)
        data = self._data(lies, ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", asked["challenge"], lies)
        return self._credential({"clientDataJSON": _text(client), "attestationObject": _text(attestation)})

    def get(self, options: str, **lies: Any) -> str:
        """Answer `navigator.credentials.get`."""
        self.count = lies.get("count", self.count + 1)
        data = self._data(lies)
        client = self._client("webauthn.get", json.loads(options)["challenge"], lies)
        key = lies.get("key", self.key)
        signature = key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        handle = lies.get("user", self.user)
        response = {"clientDataJSON": client, "authenticatorData": data, "signature": signature, "userHandle": handle}
        return self._credential({name: _text(value) for name, value in response.items() if value is not None})

    def _data(self, lies: dict[str, Any], more: int = 0) -> bytes:
        """`rp_id`, `flags` and `count` may be lies."""
        flags = lies.get("flags", USER_PRESENT | USER_VERIFIED) | more
        rp_id = lies.get("rp_id", self.rp_id)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str, lies: dict[str, Any]) -> bytes:
        """`type`, `challenge`, `origin` and `crossOrigin` may be lies."""
        data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({name: lies.get(name, value) for name, value in data.items()}).encode()

    def _credential(self, response: dict[str, str]) -> str:
        name = _text(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
