"""The Content-Security-Policy of each page: nothing loads but our own stylesheet and pictures, nothing frames us.

`form-action` (CSP Level 3 §6.4.1) also binds the redirects after a form was sent, in Chromium along the whole chain.
The consent page's answer redirects to the app, and many apps' callbacks redirect once more, to another host of
theirs. So that page permits the app's redirect origin and, beyond it, any https address (for a loopback app: any
loopback port). That keeps a form from being sent over plain http or to a script, while "Allow" works for every app.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

BASE: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
HOST = re.compile(r"[a-z0-9.-]+")


def content_policy(redirect_uri: str | None = None, *, scripts: bool = False) -> str:
    """Return the policy of a page whose forms lead to this server, or on to `redirect_uri`.

    `scripts`: the page has one, a file of ours, which asks this server and no other.
    """
    targets = "'self'" if redirect_uri is None else " ".join(("'self'", *_targets(redirect_uri)))
    own = "; script-src 'self'; connect-src 'self'" if scripts else ""
    return f"{BASE}{own}; form-action {targets}"


def _targets(redirect_uri: str) -> tuple[str, ...]:
    """CSP source expressions for the app's redirect; none for an address that can't be written as one."""
    try:
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ()
    if SCHEME.fullmatch(parts.scheme) is None or parts.scheme in ("javascript", "data"):
        return ()
    if parts.scheme not in ("http", "https"):
        return (f"{parts.scheme}:", "https:")  # RFC 8252 §7.1: private-use scheme of an installed app
    if host in LOOPBACK:
        own = () if ":" in host else (_origin(parts.scheme, host, port),)
        # CSP has no syntax for IPv6 addresses, so `http:` has to stand for them.
        wide = ("http:",) if ":" in host else ("http://127.0.0.1:*", "http://localhost:*")
        return (*own, *wide, "https:")
    if HOST.fullmatch(host) is None:
        return ("https:",)
    return (_origin(parts.scheme, host, port), "https:")


def _origin(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"
