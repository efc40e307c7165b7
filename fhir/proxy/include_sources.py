"""Includes stay within one source: what an upstream says of types that another one answers for counts for nothing.

An upstream may hold copies of such resources; shown as includes, they would stand at an address where something else
is read. An include that reaches only such types is refused by name: what it would reach is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fhir.proxy.parts import ProxyParts
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.shown import Show, Shown

_TEXT: Final = "`{}={}` would reach resources that are kept elsewhere than `{}`; read or search them by themselves"

Together = Callable[[str], bool]
"""Whether a resource type comes from the source of the type that is searched for."""


def together_with(parts: ProxyParts, resource_type: str) -> Together:
    """For one searched type."""
    source = parts.source_of(resource_type)
    return lambda kind: kind == resource_type or (parts.serves(kind) and parts.source_of(kind) is source)


def check_includes(parts: ProxyParts, search: SearchRequest, together: Together) -> None:
    """Raises ProxyRefusal for an include that can't bring anything; it hangs on settings and definitions alone."""
    for kind, value in search.includes:
        if not any(map(together, _reached(parts, kind, value))):
            raise ProxyRefusal(400, "not-supported", _TEXT.format(kind, value, search.resource_type))


def unmarked_entries(parts: ProxyParts, search: SearchRequest) -> str:
    """What an entry is of which the upstream doesn't say whether it matched: R4 lets it leave out `search.mode`.

    Where an include can bring the searched type, it may be one that a withheld match led to (docs/leaks.md L13).
    """
    own = any(search.resource_type in _reached(parts, kind, value) for kind, value in search.includes)
    return "include" if own else "match"


def _reached(parts: ProxyParts, kind: str, value: str) -> Sequence[str]:
    """The types that an include can bring."""
    source, name, target = [*value.split(":"), ""][:3]
    if kind == "_revinclude":
        return (source,)
    return (target,) if target else parts.definitions.search_parameters(source)[name].targets


def only(together: Together, show: Show) -> Show:
    """The view without what comes from the wrong source."""

    def shown_by_its_own(raw: bytes) -> Shown | None:
        shown = show(raw)
        return shown if shown is not None and together(shown.facts.resource_type) else None

    return shown_by_its_own
