"""Addresses of client keys (`jwks_uri`): which may be registered, and to which machines a request may go.

Whoever registers an app chooses what this server asks for. So that nobody reaches through it what stands behind it
(docs/leaks.md, L71): https to a public name at the usual port, and connections only to the very addresses that were
looked at here, so that a name that changes its mind between the check and the connection gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

_URL: Final = re.compile(r"[!-\[\]-~]{1,2000}")
"""Printable ASCII without spaces and backslashes."""
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)+(?!\d+$|0x[0-9a-f]*$){_LABEL}")
"""A name with a dot whose last part is no number: `2130706433`, `127.1` and `0x7f.1` are read as addresses."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
"""All of IPv6 that is assigned to be reached from everywhere (RFC 4291 §2.4): outside are mapped and compatible IPv4,
NAT64 (RFC 6052), unique local, site local, link local and multicast addresses."""
_THREADS: Final = 4
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NOT_PUBLIC: Final = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments: Teredo (RFC 4380), ORCHID, benchmarking
        "2002::/16",  # 6to4 (RFC 3056): any IPv4 address inside
        "2001:db8::/32",
        "3fff::/20",
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4
    )
)


class AddressRefused(ValueError):
    """An address of keys that isn't asked; the text says why."""


class KeyAddresses:
    """What the operator allows."""

    def __init__(self, named: Iterable[str] = (), *, loopback: bool = False) -> None:
        """`named`: `host` or `host:port` that may be asked wherever they stand; `loopback`: plain http to this machine
        too, for a server that is itself reached over loopback only."""
        self._named = frozenset(text.lower() if ":" in text else f"{text.lower()}:443" for text in named)
        self._loopback = loopback

    def check(self, url: str) -> None:
        """Whether the URL may be registered and asked. Raises AddressRefused."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as broken:
            raise AddressRefused("`jwks_uri` is malformed") from broken
        if _URL.fullmatch(url) is None or "#" in url or parts.username is not None or not host:
            raise AddressRefused(
                "`jwks_uri` must be an absolute URL of at most 2000 characters, without fragment and user"
            )
        if parts.scheme == "http" and self._loopback and host in _LOOPBACK:
            return
        if parts.scheme != "https":
            raise AddressRefused("`jwks_uri` must be https")
        if f"{host}:{port or 443}" in self._named:
            return
        if _NAME.fullmatch(host) is None or len(host) > 253 or port not in (None, 443):
            raise AddressRefused("`jwks_uri` must have a public host name, no IP address, and port 443")

    def may_connect(self, host: str, port: int, address: str) -> bool:
        """Whether a connection may go to this address of the host."""
        if f"{host.lower()}:{port}" in self._named:
            return True
        found = ip_address(address)
        return is_public(found) or (self._loopback and host in _LOOPBACK and found.is_loopback)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is some machine's on the public internet; never one of ours, seen from wherever."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


class CheckedResolver(AbstractResolver):
    """Resolves for an aiohttp connector, which connects to what is answered here and to nothing else.

    In threads of its own: a name server that lets us wait must not keep others from resolving theirs.
    """

    def __init__(self, addresses: KeyAddresses) -> None:
        self._addresses = addresses
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="client-keys")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of the host that may be connected to. Raises OSError when there is none."""

        def look_up() -> Sequence[tuple[Any, ...]]:
            return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        except UnicodeError:  # a label that can't be a name's
            found = ()
        allowed = [
            ResolveResult(hostname=host, host=to[0], port=to[1], family=kind, proto=proto, flags=_NUMERIC)
            for kind, _, proto, _, to in found
            if kind in (socket.AF_INET, socket.AF_INET6) and self._addresses.may_connect(host, port, to[0])
        ]
        if not allowed:
            raise OSError(None, "no address that may be connected to")
        return allowed

    async def close(self) -> None:
        """Let go of the threads; a look-up that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
