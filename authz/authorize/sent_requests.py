"""How an authorization request arrives: its parameters as they are, signed (RFC 9101), or pushed (RFC 9126).

A registration can demand a way; nothing else is taken from its client then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from authz.clients.clients import PUSHED, SIGNED, Client
from authz.oauth_errors import OAuthError

PARAMETERS: Final = frozenset(
    {
        *(
            "response_type",
            "response_mode",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "nonce",
            "prompt",
            "max_age",
        ),
        *("code_challenge", "code_challenge_method", "dpop_jkt", "aud", "resource", "launch", "purpose_of_use"),
        "authorization_details",
    }
)
"""What this server reads of a request. Nothing else is kept of one that is pushed or signed."""


@dataclass(frozen=True, slots=True)
class SentRequest:
    """The parameters that count, and how they came."""

    parameters: Mapping[str, str]
    signed: bool = False
    pushed: bool = False


def check_signed(client: Client, sent: SentRequest) -> None:
    """RFC 9101 §10.5. Raises OAuthError."""
    if SIGNED in client.requires and not sent.signed:
        raise OAuthError("invalid_request", "this client's requests must be signed: send them as `request`")


def check_pushed(client: Client, sent: SentRequest) -> None:
    """RFC 9126 §6. Raises OAuthError."""
    if PUSHED in client.requires and not sent.pushed:
        raise OAuthError("invalid_request", "this client's requests must be pushed: send them to `/par`")
