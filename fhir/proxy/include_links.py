"""What the includes of a search reach from one resource, by the official expressions (FHIR R4 §3.1.1.5.5).

A resource that the upstream included is shown only when a shown match leads to it by the very parameter asked for.
Any other reference between the two wouldn't do: the upstream may have included it for a withheld match (L13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhir.r4.definitions import Definitions, SearchPath
from fhir.search.values import find_by_path

Relative = Callable[[object], str | None]
"""A literal reference as `Type/id` when it points into the upstream, else None."""


@dataclass(frozen=True, slots=True)
class Links:
    """`Type/id` of what one resource leads to."""

    included: frozenset[str] = frozenset()
    """By an `_include`: what comes along when this one matches."""
    including: frozenset[str] = frozenset()
    """By a `_revinclude`: the matches with which this one comes along."""


NO_LINKS: Final = Links()


class IncludeLinks:
    """The includes of one search, checked by `fhir.proxy.search_request`: `("_include", "Type:parameter[:Target]")`."""

    def __init__(self, includes: Sequence[tuple[str, str]], definitions: Definitions, relative: Relative) -> None:
        self._relative = relative
        self._asked: list[tuple[str, str, tuple[SearchPath, ...], str]] = []
        for kind, value in includes:
            source, name, target = [*value.split(":"), ""][:3]
            self._asked.append((kind, source, definitions.search_parameters(source)[name].paths, target))

    def of(self, resource: Mapping[str, object]) -> Links:
        """What a decoded resource leads to."""
        found: dict[str, set[str]] = {"_include": set(), "_revinclude": set()}
        for kind, source, paths, target in self._asked:
            if source == resource.get("resourceType"):
                found[kind].update(name for path in paths for name in self._reached(resource, path, target))
        if not any(found.values()):
            return NO_LINKS
        return Links(frozenset(found["_include"]), frozenset(found["_revinclude"]))

    def _reached(self, resource: Mapping[str, object], path: SearchPath, target: str) -> set[str]:
        wanted = {kind for kind in (path.target, target) if kind}
        literals = (value.get("reference") for value in find_by_path(resource, path) if isinstance(value, Mapping))
        names = (self._relative(literal) for literal in literals)
        return {name for name in names if name is not None and wanted <= {name.partition("/")[0]}}
