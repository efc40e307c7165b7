"""Where the keys of clients may stand, by the settings."""

from __future__ import annotations

from assent.settings import Settings
from authz.clients.key_addresses import KeyAddresses


def key_addresses(settings: Settings) -> KeyAddresses:
    """Public hosts and those that the operator names; this machine's own for a server that is itself on loopback."""
    return KeyAddresses(settings.jwks_hosts, loopback=settings.public_url.startswith("http:"))
