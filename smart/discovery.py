"""The discovery documents: SMART App Launch 2.2 `.well-known/smart-configuration`, RFC 8414, OpenID Connect Discovery.

Pure: what is announced here is what the server does, and a test asks the server.
"""

from __future__ import annotations

from typing import Any, Final

from smart import app_state

CAPABILITIES: Final = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    app_state.CAPABILITY,
)
_SCOPES: Final = (
    *("openid", "fhirUser", "profile", "launch", "launch/patient", "offline_access", "online_access"),
    *("patient/*.rs", "system/*.rs", "patient/Basic.cruds", "user/Basic.cruds"),
)
_WRITE_SCOPES: Final = ("patient/*.cruds",)
_GRANT_TYPES: Final = (
    *("authorization_code", "refresh_token", "client_credentials"),
    "urn:ietf:params:oauth:grant-type:token-exchange",
)
_AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")
_SIGNING: Final = ("RS384", "ES384", "RS256", "ES256", "PS256")
_PROOFS: Final = ("ES256", "ES384", "PS256")


def _endpoints(issuer: str, *, registration: bool, certificates: bool, writes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
        "management_endpoint": f"{issuer}/my",
        "grant_types_supported": list(_GRANT_TYPES),
        "token_endpoint_auth_methods_supported": [*_AUTH_METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(_SIGNING),
        "scopes_supported": [*_SCOPES, *(_WRITE_SCOPES if writes else ())],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(_PROOFS),
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "require_pushed_authorization_requests": False,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": False,
        "require_signed_request_object": False,
        "request_object_signing_alg_values_supported": list(_SIGNING),
        "authorization_response_iss_parameter_supported": True,
        "tls_client_certificate_bound_access_tokens": certificates,
    }
    if registration:
        found["registration_endpoint"] = f"{issuer}/register"
    return found


def smart_configuration(
    issuer: str, *, registration: bool, certificates: bool = False, writes: bool = False
) -> dict[str, Any]:
    """SMART App Launch 2.2, conformance."""
    return {
        **_endpoints(issuer, registration=registration, certificates=certificates, writes=writes),
        "capabilities": list(CAPABILITIES),
        "associated_endpoints": [{"url": f"{issuer}/app-state", "capabilities": [app_state.CAPABILITY]}],
    }


def openid_configuration(
    issuer: str, *, registration: bool, certificates: bool = False, writes: bool = False
) -> dict[str, Any]:
    """OpenID Connect Discovery 1.0 §3; also served as RFC 8414 metadata."""
    return {
        **_endpoints(issuer, registration=registration, certificates=certificates, writes=writes),
        "userinfo_endpoint": f"{issuer}/userinfo",
        "end_session_endpoint": f"{issuer}/end-session",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_modes_supported": ["query"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "amr", "acr", "nonce", "fhirUser", "name"],
        "introspection_endpoint_auth_methods_supported": list(_AUTH_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(_SIGNING),
        "revocation_endpoint_auth_methods_supported": [*_AUTH_METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(_SIGNING),
    }
