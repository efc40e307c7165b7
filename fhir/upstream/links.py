"""Where a link that the upstream gave may lead: below its base, or to a host that the operator named for exports."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from yarl import URL

from fhir.upstream.failure import UpstreamFailure

_LINK: Final = re.compile(r"[!-~]{1,8192}")


def link_below(base: URL, url: str) -> URL:
    """The link, when it leads to the base or below it. Raises UpstreamFailure."""
    link = _read(url)
    if _place(link) != _place(base):
        raise UpstreamFailure("foreign-link")
    path, own = link.raw_path, base.raw_path.rstrip("/")
    if not (path == own or path.startswith(f"{own}/")):
        raise UpstreamFailure("foreign-link")
    # Dots and escaped separators may mean another path to the server than to us: once decoded, decoded twice, or
    # with path parameters cut off (`/..;x/`).
    if re.search(r"%(25)*(2e|2f|5c)|//|/\.\.?([/;%]|$)", path, re.IGNORECASE):
        raise UpstreamFailure("foreign-link")
    return link


def link_to_host(base: URL, url: str, hosts: Collection[str]) -> URL:
    """The link, when it leads to one of `hosts` (`name` or `name:port`), encrypted unless the base isn't either.

    Raises UpstreamFailure.
    """
    link = _read(url)
    scheme, host, port = _place(link)
    usual = port == URL.build(scheme=scheme, host=host).port
    if scheme not in {"https", base.scheme} or not (f"{host}:{port}" in hosts or (usual and host in hosts)):
        raise UpstreamFailure("foreign-link")
    return link


def _read(url: str) -> URL:
    if _LINK.fullmatch(url) is None or "\\" in url:
        raise UpstreamFailure("foreign-link")
    try:
        link = URL(url, encoded=True)
        _place(link)
    except ValueError as broken:
        raise UpstreamFailure("foreign-link") from broken
    if link.scheme.lower() not in ("http", "https") or not link.host or link.user or link.password:
        raise UpstreamFailure("foreign-link")
    return link.with_fragment(None)


def _place(link: URL) -> tuple[str, str, int | None]:
    return link.scheme.lower(), (link.host or "").lower(), link.port
