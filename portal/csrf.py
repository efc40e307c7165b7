"""Whether a form that was sent came from a page of ours (CWE-352).

Every form carries a token made from a secret: of the session when somebody is signed in, of a cookie of its own
before (so that nobody can be signed in as somebody else without noticing). Where the browser says where a request
comes from (Fetch Metadata, Sec-Fetch-Site), that is believed as well; `Origin` isn't looked at, as pages with
`Referrer-Policy: no-referrer` send `Origin: null` even to themselves.
"""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

OWN_SITES = frozenset({"same-origin", "none"})


def form_token(secret: str) -> str:
    """Return the token that a form carries, so that the secret itself stays out of the page."""
    return hmac.new(secret.encode(), b"assent form", hashlib.sha256).hexdigest()


def is_own_form(request: Request, token: str, secret: str | None) -> bool:
    """Tell whether a sent form is one that we gave to the holder of `secret`."""
    if request.headers.get("sec-fetch-site", "none") not in OWN_SITES:
        return False
    if not secret:
        return False
    return hmac.compare_digest(token.encode(), form_token(secret).encode())
