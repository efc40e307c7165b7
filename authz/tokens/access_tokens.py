"""Access tokens: RFC 9068 JWTs, signed ES256. A token is a claim check; what it opens is decided at every use.

A token is bound to a key where the client proved one (RFC 9449 §6.1), to a certificate where its registration says so
(RFC 8705 §3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from authz.opaque_secret import new_secret
from authz.tokens import dpop
from authz.tokens.signing_keys import SigningKeys
from policies.model import Access
from smart.consent_details import TYPE
from smart.scope_syntax import split_scope

MAX_TOKEN: Final = 8_192
_LEEWAY: Final = 5
_ALGS: Final = " ".join(dpop.ALGORITHMS)
_HEADER: Final = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What goes into a token."""

    client_id: str
    subject: str
    scope: str
    lifetime: timedelta
    grant_id: str = ""
    patient: str | None = None
    fhir_user: str | None = None
    purpose: str = "PATRQT"
    consents: tuple[str, ...] = ()
    jkt: str | None = None
    """Thumbprint of the key to which the token is bound."""
    x5t: str | None = None
    """Thumbprint of the certificate to which it is bound."""
    actors: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()
    not_after: int | None = None
    """NumericDate; the token doesn't live beyond it."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The claim `authorization_details` (RFC 9396 §9.1); empty for none."""


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """Why a token counts for nothing: RFC 6750 §3.1, RFC 9449 §7.1."""

    status: int
    error: str
    description: str
    scheme: str = "Bearer"
    """How the token should have been sent."""

    def challenge(self, realm: str = "") -> str:
        """The WWW-Authenticate header. Who sent no token is told both schemes (RFC 9449 §7.2)."""
        parameters = {"realm": realm, "error": self.error, "algs": _ALGS if self.scheme == "DPoP" else ""}
        listed = ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value)
        own = f"{self.scheme} {listed}".strip()
        return own if self.error else f'{own}, DPoP algs="{_ALGS}"'


NO_TOKEN: Final = TokenRefused(401, "", "an access token is needed")
INVALID: Final = TokenRefused(401, "invalid_token", "the access token is not valid, or not any more")


class AccessTokens:
    """Mints and verifies this server's access tokens."""

    def __init__(self, keys: SigningKeys, *, issuer: str, audience: str, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self.issuer = issuer
        self._audience = audience
        self._clock = clock

    def mint(self, claims: TokenClaims) -> tuple[str, str]:
        """A signed token and its jti."""
        now = int(self._clock().timestamp())
        jti = new_secret()[:24]
        ends = now + int(claims.lifetime.total_seconds())
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "sub": claims.subject,
            "aud": self._audience,
            "client_id": claims.client_id,
            "iat": now,
            "exp": ends if claims.not_after is None else min(ends, claims.not_after),
            "jti": jti,
            "scope": claims.scope,
            "purpose_of_use": claims.purpose,
            **claims.details,
        }
        optional = {"grant": claims.grant_id, "patient": claims.patient, "fhirUser": claims.fhir_user}
        payload.update({name: value for name, value in optional.items() if value})
        bound = {"jkt": claims.jkt, "x5t#S256": claims.x5t}
        if any(bound.values()):
            payload["cnf"] = {name: value for name, value in bound.items() if value}
        if claims.consents:
            payload["consent"] = list(claims.consents)
        if claims.actors:
            payload |= {"act": _act(claims.actors), "ancestors": list(claims.ancestors)}
        key = self._keys.signing("ES256")
        return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, payload, key.key, ["ES256"]), jti

    def verify(self, token: str) -> tuple[Access, dict[str, Any]] | TokenRefused:
        """Signature, type, issuer, audience, time (RFC 9068 §4). Says nothing about revocation."""
        if not token or len(token) > MAX_TOKEN or token.count(".") != 2:
            return INVALID
        try:
            decoded = jwt.decode(token, self._key_of, algorithms=["ES256"])
        except (JoseError, ValueError, TypeError, KeyError):
            return INVALID
        claims = decoded.claims
        if decoded.header.get("typ") != "at+jwt" or not self._is_ours(claims):
            return INVALID
        _, clinical, _ = split_scope(claims["scope"])
        access = Access(
            client_id=claims["client_id"],
            grant_id=claims.get("grant", ""),
            scopes=clinical,
            expires_at=claims["exp"],
            jti=claims["jti"],
            patient=claims.get("patient"),
            user=claims.get("fhirUser"),
            subject=claims["sub"],
            purpose=claims.get("purpose_of_use", ""),
            consents=tuple(claims.get("consent", ())),
            jkt=claims.get("cnf", {}).get("jkt"),
            x5t=claims.get("cnf", {}).get("x5t#S256"),
            actors=_actors(claims.get("act")),
            ancestors=tuple(claims.get("ancestors", ())),
            within=_within(claims.get("authorization_details")),
        )
        return access, dict(claims)

    def _key_of(self, unverified: Any) -> Any:
        """The key for a header that has passed; `jku`, `x5u`, `crit` and the like are no part of our tokens."""
        header = unverified.headers()
        if set(header) != _HEADER or not isinstance(header["kid"], str):
            raise ValueError("unknown header")
        key = self._keys.find(header["kid"])
        if key is None or key.alg != "ES256":
            raise ValueError("unknown key")
        return key.key

    def _is_ours(self, claims: dict[str, Any]) -> bool:
        now = self._clock().timestamp()
        texts = all(isinstance(claims.get(n), str) for n in ("iss", "sub", "aud", "client_id", "jti", "scope"))
        times = all(type(claims.get(n)) is int for n in ("iat", "exp"))
        return (
            texts
            and times
            and claims["iss"] == self.issuer
            and claims["aud"] == self._audience
            and claims["iat"] <= now + _LEEWAY
            and now < claims["exp"]
        )


def _act(actors: tuple[str, ...]) -> dict[str, Any]:
    """RFC 8693 §4.1: the newest actor outside, each earlier one within."""
    found: dict[str, Any] = {}
    for client_id in reversed(actors):
        found = {"sub": client_id, **({"act": found} if found else {})}
    return found


def _actors(act: Any) -> tuple[str, ...]:
    return () if act is None else (act["sub"], *_actors(act.get("act")))


def _within(details: Any) -> frozenset[str] | None:
    """The bound that the claim makes. What this server doesn't know of it opens nothing."""
    if details is None:
        return None
    return frozenset(code for element in details if element["type"] == TYPE for code in element["categories"])
