"""Which resource types decide whether a token opens an interaction at all (docs/decisions/0016-whole-reads.md)."""

from __future__ import annotations

from typing import Final

from fhir.r4.interaction import Interaction
from policies.catalogue import Catalogue

_ENDLESS: Final = "AuditEvent"
"""Reading makes more of them: pages of everything would never end."""


def decided_types(interaction: Interaction, catalogue: Catalogue) -> tuple[str, ...]:
    """The types of which the token must open one."""
    match interaction:
        case Interaction("operation"):
            return everything_types(catalogue)
        case Interaction("search-system"):
            return tuple(sorted(catalogue.scopes_by_type))
        case Interaction("read", "Binary"):
            return (
                "DocumentReference",
            )  # a Binary belongs to no category: it is opened by a document (fhir/proxy/binary.py)
    return (interaction.resource_type,)


def everything_types(catalogue: Catalogue) -> tuple[str, ...]:
    """Types of `$everything`: the patient first, then what can be about one."""
    pairs = catalogue.scopes_by_type.items()
    own = {kind for kind, shared in pairs if not all(category.always for category, _ in shared)}
    return ("Patient", *sorted(own - {_ENDLESS, "Patient"}))
