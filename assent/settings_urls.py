"""What a URL in the settings may look like."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def check_base_url(value: str) -> str:
    """A base URL without a trailing slash: https, or http on the loopback interface only."""
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL like `https://example.org`")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("must have no query, fragment or credentials")
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("must have no spaces")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must begin with `https://`; plain http is for loopback addresses only")
    return value.rstrip("/")


def check_public_url(value: str) -> str:
    """A base URL that is a host's own: pages and their links begin at its root."""
    base = check_base_url(value)
    if _split(base).path:
        raise ValueError("must have no path; give Assent a host name, or a port, of its own")
    return base


def check_issuer(value: str) -> str:
    """A base URL exactly as it is spelled: a trailing slash is part of an issuer's name (OpenID Connect Core §2)."""
    check_base_url(value)
    return value


def check_database_url(value: str) -> str:
    """A PostgreSQL URL, in the spelling that SQLAlchemy wants."""
    parts = _split(value)
    if parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise ValueError("must be a URL like `postgresql://user:password@host/database`")
    return "postgresql+asyncpg" + value[len(parts.scheme) :]


def check_host(value: str) -> str:
    """A host name or IPv4 address, with a port or without."""
    host, colon, port = value.partition(":")
    if _HOST.fullmatch(host) is None or (colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError("must be host names like `keys.example.org` or `keys.example.org:8443`")
    return value.lower()


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port") from None
    return parts
