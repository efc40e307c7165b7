"""Parameters of the OAuth endpoints: bounded, decoded once, none of them twice (RFC 6749 §3.1, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from authz.oauth_errors import OAuthError

MAX_BYTES: Final = 32_768
_FORM: Final = "application/x-www-form-urlencoded"


def read_query(query: bytes, *, allow_repeated: frozenset[str] = frozenset()) -> Mapping[str, str]:
    """Decode `a=b&c=d`. Raises OAuthError."""
    if len(query) > MAX_BYTES:
        raise OAuthError("invalid_request", f"the parameters may have at most {MAX_BYTES} bytes")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=60)
    except ValueError as broken:
        raise OAuthError("invalid_request", "the parameters are not well-formed") from broken
    found: dict[str, str] = {}
    for name, value in pairs:
        if not value:
            continue  # RFC 6749 §3.1: a parameter without a value is one that was omitted
        if "\x00" in name or "\x00" in value:
            raise OAuthError("invalid_request", "the parameters are not well-formed")
        if name in found and not (name in allow_repeated and found[name] == value):
            raise OAuthError("invalid_request", f"`{_shown(name)}` stands twice")
        found[name] = value
    return found


async def read_form(request: Request) -> Mapping[str, str]:
    """The parameters of a form body. Raises OAuthError."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise OAuthError("invalid_request", f"the parameters may have at most {MAX_BYTES} bytes", status=413)
    return read_query(body)


def _shown(name: str) -> str:
    return "".join(c for c in name[:40] if c.isprintable() and c != "`")
