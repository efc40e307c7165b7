"""An app that proves who it is in every way that SMART 2.2 has, and asks every endpoint that discovery names."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeyParameters, RSAKey

from tests.clients.app import App, register
from tests.sandbox_server import Sandbox

WAYS = ("none", "client_secret_basic", "client_secret_post", "RS384", "ES384")
"""How an app authenticates: by its name alone, by a secret, or by a key for this algorithm."""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(slots=True)
class KitApp(App):
    """`App`, authenticating in one of `WAYS`."""

    way: str = "none"
    key: Key | None = None

    def post(self, endpoint: str, **fields: str) -> httpx.Response:
        """Send a form to an endpoint of discovery's, `token_endpoint`; a field that is given replaces its own."""
        url = self._endpoint(endpoint)
        if self.way == "client_secret_basic":
            return httpx.post(url, data=fields, auth=(self.client_id, self.client_secret or ""), timeout=30)
        return httpx.post(url, data=self._proof() | fields, timeout=30)

    def refresh_with(self, **fields: str) -> httpx.Response:
        """Use the refresh token, with further fields; nothing is kept."""
        return self._token(grant_type="refresh_token", refresh_token=self.tokens["refresh_token"], **fields)

    def _proof(self) -> dict[str, str]:
        if self.way == "client_secret_post":
            return {"client_id": self.client_id, "client_secret": self.client_secret or ""}
        if self.key is None:
            return {"client_id": self.client_id}
        claims: dict[str, Any] = {"iss": self.client_id, "sub": self.client_id, "aud": self._endpoint("token_endpoint")}
        claims |= {"exp": int(time.time()) + 120, "jti": str(uuid.uuid4())}
        header = {"alg": self.way, "typ": "JWT", "kid": self.key.kid}
        signed = jwt.encode(header, claims, self.key, [self.way])
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}

    def _token(self, **fields: str) -> httpx.Response:
        return self.post("token_endpoint", **fields)


def registered(sandbox: Sandbox, way: str, scope: str) -> KitApp:
    """A new app that authenticates so (RFC 7591)."""
    key: Key | None = None
    more: dict[str, Any] = {"token_endpoint_auth_method": way}
    if way in ("RS384", "ES384"):
        named: KeyParameters = {"kid": f"kit-{way}", "use": "sig", "alg": way}
        key = RSAKey.generate_key(2048, named) if way == "RS384" else ECKey.generate_key("P-384", named)
        more = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.as_dict(private=False)]}}
    found = register(sandbox.issuer, f"Kit {way} {uuid.uuid4().hex[:6]}", scope, **more)
    secret = found.get("client_secret")
    return KitApp(sandbox.fhir_base, found["client_id"], scope, client_secret=secret, way=way, key=key)
