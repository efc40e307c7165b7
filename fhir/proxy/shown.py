"""A resource as one caller sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fhir.proxy.include_links import NO_LINKS, Links
from policies.model import ResourceFacts


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource that may be seen, minimized."""

    facts: ResourceFacts
    body: bytes
    links: Links = NO_LINKS
    categories: frozenset[str] = frozenset()
    """Codes of the data categories that it belongs to."""
    name: str = field(init=False)
    """`Type/id`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.facts.resource_type}/{self.facts.id}")


Show = Callable[[bytes], Shown | None]
"""What may be seen of a resource, None when nothing. Raises NotMinimizable for what isn't shaped as FHIR."""
