"""URLs that a written resource newly holds: none leads into an upstream.

A document's attachment opens the Binary that it points at (`fhir.proxy.binary`, docs/leaks.md L35). Who could set that
URL would open any content there is, whosever it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fhir.proxy.request import ProxyRefusal

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+")


def check_new_links(old: dict[str, Any], new: dict[str, Any], upstream_bases: Sequence[str]) -> None:
    """Refuse a `url` in `new` that isn't in `old` and doesn't lead elsewhere. Raises ProxyRefusal."""
    bases = tuple(base.lower() for base in upstream_bases)
    for url in _urls(new) - _urls(old):
        if _ABSOLUTE.fullmatch(url) is None or url.lower().startswith(bases):
            text = "a `url` that is new must be absolute and lead to another server"
            raise ProxyRefusal(422, "business-rule", text)


def _urls(content: dict[str, Any]) -> set[str]:
    """Every member `url`, at any depth; the depth of both is bounded by who calls."""
    found: set[str] = set()
    level: list[Any] = [content]
    while level:
        objects = [value for value in level if isinstance(value, dict)]
        found |= {value["url"] for value in objects if isinstance(value.get("url"), str)}
        level = [inside for value in objects for inside in value.values()] + [
            item for value in level if isinstance(value, list) for item in value
        ]
    return found
