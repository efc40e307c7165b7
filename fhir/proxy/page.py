"""One page of an answer, as an app sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir.proxy.shown import Shown


@dataclass(slots=True)
class Page:
    """What is found, and where the result goes on."""

    matches: list[Shown] = field(default_factory=list)
    includes: list[Shown] = field(default_factory=list)
    next_url: str | None = None
    """Upstream page where the next page starts; None at the end."""
    next_position: int = 0
    """How many matches of that upstream page were dealt with."""
    next_passed: int = 0
    """How many matches stand on the upstream's pages before it."""
    rendered: tuple[bytes, bytes] | None = None
    """Its `meta` and its entries as they are sent (`fhir.proxy.searchset`), once they were."""
