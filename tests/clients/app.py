"""A SMART app with nothing but HTTP: registers itself, launches standalone or from an EHR with PKCE, reads."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

REDIRECT_URI = "http://127.0.0.1:9/callback"
"""Nobody listens there: `Person` doesn't follow redirects that leave Assent."""


def register(issuer: str, name: str, scope: str, *, redirect_uri: str = REDIRECT_URI, **more: Any) -> dict[str, Any]:
    """Register a public client, where that is open (RFC 7591); answers the client's information."""
    document: dict[str, Any] = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": scope,
    }
    answer = httpx.post(f"{issuer}/register", json=document | more, timeout=30)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@dataclass(slots=True)
class App:
    """A client in one launch (SMART 2.2): public, or confidential when it has a secret."""

    fhir_base: str
    client_id: str
    scope: str
    redirect_uri: str = REDIRECT_URI
    client_secret: str | None = None
    launch: str | None = None
    """What the EHR gave, in an EHR launch."""
    purpose: str | None = None
    """The app's `purpose_of_use`, where it isn't the one that it is registered for first."""
    tokens: dict[str, Any] = field(default_factory=dict)
    _verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    _state: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _discovered: dict[str, Any] = field(default_factory=dict)

    def authorize_url(self) -> str:
        """Where a person's browser is sent."""
        digest = hashlib.sha256(self._verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": self._state,
            "aud": self.fhir_base,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        optional = {"launch": self.launch, "purpose_of_use": self.purpose}
        asked |= {name: value for name, value in optional.items() if value is not None}
        return f"{self._endpoint('authorization_endpoint')}?{urlencode(asked)}"

    def redeem(self, returned_to: str) -> dict[str, Any]:
        """Exchange the code that came back for tokens."""
        assert returned_to.startswith(self.redirect_uri)
        given = parse_qs(urlsplit(returned_to).query)
        assert given["state"] == [self._state]
        assert "code" in given, given
        answer = self._token(
            grant_type="authorization_code",
            code=given["code"][0],
            redirect_uri=self.redirect_uri,
            code_verifier=self._verifier,
        )
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        return self.tokens

    def refresh(self) -> httpx.Response:
        """Use the refresh token; new tokens are kept."""
        answer = self._token(grant_type="refresh_token", refresh_token=self.tokens["refresh_token"])
        if answer.status_code == 200:
            self.tokens |= answer.json()
        return answer

    def read(self, path: str) -> httpx.Response:
        """GET something below the FHIR base, or at an absolute URL."""
        url = path if path.startswith("http") else f"{self.fhir_base}/{path}"
        return httpx.get(url, headers={"Authorization": f"Bearer {self.tokens['access_token']}"}, timeout=150)

    def _token(self, **fields: str) -> httpx.Response:
        url = self._endpoint("token_endpoint")
        if self.client_secret is not None:
            return httpx.post(url, data=fields, auth=(self.client_id, self.client_secret), timeout=30)
        return httpx.post(url, data=fields | {"client_id": self.client_id}, timeout=30)

    def _endpoint(self, name: str) -> str:
        if not self._discovered:
            answer = httpx.get(f"{self.fhir_base}/.well-known/smart-configuration", timeout=30)
            answer.raise_for_status()
            self._discovered = answer.json()
        return str(self._discovered[name])
