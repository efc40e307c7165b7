"""Client metadata as apps send and read it: RFC 7591 §2 and §3.2.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import msgspec
from starlette.requests import Request

from authz.clients.clients import REQUIREMENTS, Client, ClientKind, NewClient
from authz.oauth_errors import OAuthError
from fhir.r4.strict_json import decode_once
from smart.consent_details import TYPE

_MAX_BODY: Final = 65_536
_KINDS: Final = {
    "none": "public",
    "client_secret_basic": "confidential-symmetric",
    "client_secret_post": "confidential-symmetric",
    "private_key_jwt": "confidential-asymmetric",
}
PURPOSES: Final = "purpose_of_use"
"""Named as the request parameter is, and the claim of UDAP's `hl7-b2b` and of IHE IUA that holds codes of the kind."""
_REMINDER: Final = "send the new set to `registration_client_uri` whenever your keys change, or register `jwks_uri`"


async def read_body(request: Request) -> bytes:
    """The body of a registration. Raises OAuthError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise OAuthError("invalid_client_metadata", f"the body may have at most {_MAX_BODY} bytes", status=413)
    return body


def parse_metadata(body: bytes) -> dict[str, Any]:
    """A body as metadata. Raises OAuthError."""
    try:
        return decode_once(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        text = "the body must be a JSON object in which no member stands twice"
        raise OAuthError("invalid_client_metadata", text) from broken


def new_client_from(metadata: Mapping[str, Any], askable: Collection[str]) -> NewClient:
    """RFC 7591 §2 metadata as a registration; a `software_statement` in it was verified.

    `askable`: codes of the purposes of use for which apps may ask. Raises OAuthError.
    """
    method = metadata.get("token_endpoint_auth_method", "client_secret_basic")
    grants = metadata.get("grant_types", ["authorization_code"])
    texts = [metadata.get(name, "") for name in ("client_name", "scope")]
    uris, after = metadata.get("redirect_uris", []), metadata.get("post_logout_redirect_uris", [])
    if any(scope.startswith("assent/") for scope in str(texts[1]).split(" ")):
        # Powers over this server itself: the operator gives them (`assent client add`), nobody takes them.
        raise OAuthError("invalid_client_metadata", "a scope that begins with `assent/` can't be registered here")
    if not isinstance(method, str) or method not in _KINDS:
        raise OAuthError("invalid_client_metadata", "`token_endpoint_auth_method` is not one that is supported")
    if not all(isinstance(text, str) for text in texts) or not all(map(_texts, (uris, after, grants))):
        raise OAuthError("invalid_client_metadata", "a text or a list in the metadata is malformed")
    _check_details_types(metadata)
    jwks, jwks_uri = _keys(metadata)
    kind = _KINDS[method]
    if set(grants) == {"client_credentials"}:
        kind = "backend"
        if method == "none":
            raise OAuthError("invalid_client_metadata", "`client_credentials` needs client authentication")
    signs = method == "private_key_jwt"
    return NewClient(
        name=texts[0] or "Unnamed app",
        kind=cast(ClientKind, kind),
        redirect_uris=tuple(uris),
        scope=texts[1],
        purposes=_purposes(metadata, askable),
        jwks=jwks if signs else None,
        jwks_uri=jwks_uri if signs else None,
        post_logout_redirect_uris=tuple(after),
        requires=_requires(metadata),
        software_statement=metadata.get("software_statement"),
    )


def described(client: Client, method: str) -> dict[str, Any]:
    """What is registered, but for secrets. `method` is the one that the client chose of those that it may use."""
    answer: dict[str, Any] = {
        "client_id": client.client_id,
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": ["code"] if client.redirect_uris else [],
        "token_endpoint_auth_method": method,
        "scope": client.scope,
        PURPOSES: list(client.purposes),
    }
    if "authorization_code" in client.grant_types:
        answer["authorization_details_types"] = [TYPE]
    if client.jwks is not None:
        answer |= {"jwks": client.jwks, "jwks_reminder": _REMINDER}
    if client.jwks_uri is not None:
        answer["jwks_uri"] = client.jwks_uri
    if client.post_logout_redirect_uris:
        answer["post_logout_redirect_uris"] = list(client.post_logout_redirect_uris)
    if client.software_statement is not None:  # RFC 7591 §3.2.1
        answer["software_statement"] = client.software_statement
    return answer | dict.fromkeys(sorted(client.requires), True)


def _requires(metadata: Mapping[str, Any]) -> frozenset[str]:
    if not all(isinstance(metadata.get(name, False), bool) for name in REQUIREMENTS):
        raise OAuthError("invalid_client_metadata", f"{', '.join(REQUIREMENTS)} must be true or false")
    return frozenset(name for name in REQUIREMENTS if metadata.get(name))


def _purposes(metadata: Mapping[str, Any], askable: Collection[str]) -> tuple[str, ...]:
    """In the order given: the first is asked for when a request names none."""
    named = metadata.get(PURPOSES, ["PATRQT"])
    if not _texts(named) or not named or not set(named) <= set(askable):
        allowed = ", ".join(sorted(askable))
        raise OAuthError("invalid_client_metadata", f"`{PURPOSES}` must be a list of one or more of {allowed}")
    return tuple(dict.fromkeys(named))


def _check_details_types(metadata: Mapping[str, Any]) -> None:
    """RFC 9396 §10. Every app that people decide about may use the one type: it only takes away."""
    named = metadata.get("authorization_details_types", [])
    if not _texts(named) or not set(named) <= {TYPE}:
        raise OAuthError("invalid_client_metadata", f"`authorization_details_types` may name `{TYPE}` only")


def _keys(metadata: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    jwks, jwks_uri = metadata.get("jwks"), metadata.get("jwks_uri")
    if jwks is not None and not isinstance(jwks, dict):
        raise OAuthError("invalid_client_metadata", "`jwks` must be an object")
    if jwks_uri is not None and not isinstance(jwks_uri, str):
        raise OAuthError("invalid_client_metadata", "`jwks_uri` must be a URL")
    if jwks is not None and jwks_uri is not None:  # RFC 7591 §2
        raise OAuthError("invalid_client_metadata", "send `jwks` or `jwks_uri`, not both")
    return jwks, jwks_uri


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
