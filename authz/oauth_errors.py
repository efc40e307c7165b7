"""Errors of the OAuth endpoints, and the one place where they become RFC 6749 JSON."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import JSONResponse

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_NOT_SAID: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
"""What a description can't hold (RFC 6749 §4.1.2.1, §5.2); it may repeat a word of the request."""


class OAuthError(Exception):
    """An error by its registered code (RFC 6749 §4.1.2.1, §5.2; RFC 7591 §3.2.2) with a text for the integrator."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, _NOT_SAID.sub("?", description), status


def details_come_first() -> OAuthError:
    """RFC 9396 §6: a token with less of them is not offered."""
    return OAuthError(
        "invalid_authorization_details",
        "`authorization_details` belong to the authorization request; here, ask for less by `scope`",
    )


def error_response(error: OAuthError) -> JSONResponse:
    """RFC 6749 §5.2. A 401 names the schemes that would do."""
    headers = dict(NO_STORE)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="token"'
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, error.status, headers)
