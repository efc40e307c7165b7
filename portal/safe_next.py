"""Where a person goes after signing in: only ever to a page of this server.

CWE-601 (open redirect). Browsers read `//host`, `/\\host` and paths with control characters as other hosts' addresses.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from fastapi import Request

HOME: Final = "/my"
LONGEST: Final = 1000
SAFE = re.compile(r"/(?![/\\])[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
"""RFC 3986 path-absolute with query; no backslash, no fragment, no control character, nothing outside ASCII."""


def safe_next(given: str | None) -> str:
    """Return `given` when it is an address on this server, else the sharing page."""
    if given is None or len(given) > LONGEST or SAFE.fullmatch(given) is None:
        return HOME
    return given


def page_address(request: Request) -> str:
    """Where the visitor is, to come back to; the start page for what was sent and can't be asked for by a link."""
    if request.method not in ("GET", "HEAD"):
        return "/"
    query = request.url.query
    address = quote(request.url.path, safe="/%~") + (f"?{query}" if query else "")
    return address if len(address) <= LONGEST and SAFE.fullmatch(address) is not None else "/"
