"""Client assertions: a JWT that a client signs to say who it is (RFC 7523 §3; SMART App Launch 2.2, asymmetric)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from authz.clients.clients import Client
from authz.clients.keys import ClientKeys
from authz.clients.known_clients import KnownClients
from authz.clients.signatures import (
    FetchedKeys,
    SignatureRefused,
    SignedText,
    fetch_registered,
    read_signed,
    texts,
    verified_claims,
)
from authz.oauth_errors import OAuthError

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY: Final = 30
_MAX_LIFETIME: Final = 300
_MAX_LENGTH: Final = 8_192
FAILED: Final = "the client couldn't be authenticated"


def failed(text: str = FAILED) -> OAuthError:
    """The error of every failed authentication (RFC 6749 §5.2)."""
    return OAuthError("invalid_client", text, status=401)


def _refused(refused: SignatureRefused) -> OAuthError:
    return failed(f"the client assertion can't be taken: {refused}")


def read_assertion(form: Mapping[str, str]) -> SignedText:
    """The assertion of a form, not verified. Raises OAuthError."""
    text = form["client_assertion"]
    if form.get("client_assertion_type") != ASSERTION_TYPE or len(text) > _MAX_LENGTH:
        raise failed("`client_assertion_type` must be the JWT bearer type")
    try:
        return read_signed(text)
    except SignatureRefused as refused:
        raise _refused(refused) from refused


def claimed_client(form: Mapping[str, str], assertion: SignedText) -> str:
    """Who the client says it is: `client_id` may be left out (RFC 7521 §4.2)."""
    return form.get("client_id") or str(assertion.claims.get("iss", ""))


async def fetch_keys(
    clients: KnownClients, client_keys: ClientKeys, client_id: str, assertion: SignedText
) -> FetchedKeys | None:
    """The keys to verify an assertion with, if its client registered their address. Raises OAuthError.

    To be called while no database connection is held.
    """
    try:
        return await fetch_registered(clients, client_keys, client_id, assertion)
    except SignatureRefused as refused:
        raise _refused(refused) from refused


def verify(
    assertion: SignedText, client: Client, fetched: FetchedKeys | None, audiences: frozenset[str], now: float
) -> Mapping[str, Any]:
    """The claims of an assertion by this client. Raises OAuthError."""
    try:
        claims = verified_claims(assertion, client, fetched)
    except SignatureRefused as refused:
        raise _refused(refused) from refused
    expires, jti = claims.get("exp"), claims.get("jti")
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise failed("the assertion's `iss` and `sub` must be the client's id")
    if not texts(claims.get("aud")) & audiences:
        raise failed("the assertion's `aud` is not this server")
    if type(expires) is not int or not now - LEEWAY < expires <= now + _MAX_LIFETIME + LEEWAY:
        raise failed("the assertion's `exp` must lie within the next five minutes")
    if not isinstance(jti, str) or not jti or len(jti) > 500:
        raise failed("the assertion needs a `jti`")
    return claims
