"""Request objects: an authorization request as a JWT that the client signs (RFC 9101; FAPI 2.0 Message Signing §5.3).

What stands outside the object doesn't count, but for `client_id`. Objects come by value only: nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from authz.authorize.sent_requests import PARAMETERS
from authz.clients.signatures import SignatureRefused, fetch_registered, read_signed, texts, verified_claims
from authz.context import AuthzContext
from authz.oauth_errors import OAuthError

_TYPES: Final = frozenset({"oauth-authz-req+jwt", "application/oauth-authz-req+jwt"})
"""RFC 9101 §10.8.1: so that no JWT which a client signs for something else counts as its request."""
_MAX_LENGTH: Final = 8_192
_MAX_LIFETIME: Final = 3_600
_LEEWAY: Final = 30
_NOT_INSIDE: Final = frozenset({"request", "request_uri"})


async def read_request_object(context: AuthzContext, client_id: str, text: str) -> Mapping[str, str]:
    """The parameters that a request object of this client holds. Raises OAuthError, `invalid_request_object`.

    To be called while no database connection is held: the client's keys may have to be fetched.
    """
    if len(text) > _MAX_LENGTH:
        raise _refused(f"it may have at most {_MAX_LENGTH} characters")
    try:
        signed = read_signed(text)
        if str(signed.header.get("typ", "")).lower() not in _TYPES:
            raise _refused("its `typ` must be `oauth-authz-req+jwt`")
        fetched = await fetch_registered(context.clients, context.client_keys, client_id, signed)
        client = await context.clients.find(client_id)
        if client is None or not client.is_live:
            raise _refused("there is no such client")
        claims = verified_claims(signed, client, fetched)
    except SignatureRefused as refused:
        raise _refused(str(refused)) from refused
    _check_claims(claims, client_id, context.issuer, context.clock().timestamp())
    return _parameters(claims, context.fhir_base)


def _check_claims(claims: Mapping[str, Any], client_id: str, issuer: str, now: float) -> None:
    if claims.get("iss") != client_id or claims.get("client_id") != client_id:
        raise _refused("its `iss` and `client_id` must be the client's id")
    if claims.get("sub") == client_id:
        # RFC 9101 §10.8: it could be taken for a client assertion.
        raise _refused("its `sub` must not be the client's id")
    if issuer not in texts(claims.get("aud")):
        raise _refused("its `aud` must hold this server's issuer")
    begins, ends = claims.get("nbf"), claims.get("exp")
    if type(begins) is not int or type(ends) is not int:
        raise _refused("it needs `nbf` and `exp`, in whole seconds")
    if begins > now + _LEEWAY or ends <= now - _LEEWAY or ends > begins + _MAX_LIFETIME:
        raise _refused(f"it must be good now, and for {_MAX_LIFETIME} seconds at most")
    if _NOT_INSIDE & claims.keys():
        raise _refused("it must not hold `request` or `request_uri`")


def _parameters(claims: Mapping[str, Any], fhir_base: str) -> Mapping[str, str]:
    """The request inside. `aud` is the JWT's: the FHIR base of SMART stands beside the issuer, or is `resource`."""
    found = {name: _text(name, claims[name]) for name in PARAMETERS & claims.keys() if name != "aud"}
    if fhir_base in texts(claims["aud"]):
        found["aud"] = fhir_base
    return {name: value for name, value in found.items() if value}


def _text(name: str, value: object) -> str:
    if name == "authorization_details":
        return json.dumps(value)
    if name == "max_age" and type(value) is int:
        return str(value)
    if not isinstance(value, str) or not _is_storable(value):
        raise _refused(f"its `{name}` must be text")
    return value


def _is_storable(value: str) -> bool:
    """Whether the database can hold it: neither NUL nor half a character."""
    try:
        return b"\x00" not in value.encode()
    except UnicodeEncodeError:
        return False


def _refused(why: str) -> OAuthError:
    return OAuthError("invalid_request_object", f"the request object can't be taken: {why}")
