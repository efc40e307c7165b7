"""Who belongs to what, and whether somebody is meant by the names in a provision.

Names are `Type/id` or `system|value`. Memberships are handed in as data; without them a permit to a group reaches
nobody, and a deny to a group reaches everybody, because nobody can tell who isn't in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

_MAX_NAMES: Final = 1_000
_PERSONS: Final = frozenset({"Patient", "Practitioner", "RelatedPerson"})
_COLLECTIVES: Final = frozenset(
    {"CareTeam", "Endpoint", "Group", "HealthcareService", "Location", "Organization", "PractitionerRole"}
)


@dataclass(frozen=True, slots=True)
class Memberships:
    """Complete knowledge of who belongs to what, as far as the names in question go."""

    held_by: Mapping[str, frozenset[str]]
    """Name -> the groups, organizations and roles that hold it directly. What isn't there is held by nothing."""

    def of(self, names: Collection[str]) -> tuple[frozenset[str], bool]:
        """The names and all that hold them, at any distance; and False when there are too many to follow (1,000)."""
        found, edge = set(names), list(names)
        while edge:
            for holder in self.held_by.get(edge.pop(), ()):
                if holder not in found:
                    if len(found) >= _MAX_NAMES:
                        return frozenset(found), False
                    found.add(holder)
                    edge.append(holder)
        return frozenset(found), True


def means(wanted: Collection[str], actual: frozenset[str], memberships: Memberships | None, *, permit: bool) -> bool:
    """Whether the names `wanted` of a provision mean whoever has the names `actual`; in doubt a deny does."""
    if not actual.isdisjoint(wanted):
        return True
    if memberships is not None:
        found, complete = memberships.of(actual)
        return not found.isdisjoint(wanted) or not (permit or complete)
    if permit:
        return False
    kinds = frozenset(map(_kind, actual))
    return not all(_told_apart(_kind(name), kinds) for name in wanted)


def _kind(name: str) -> str:
    """The identifier's system, or the resource type."""
    system, bar, _ = name.rpartition("|")
    return system if bar else name.partition("/")[0]


def _told_apart(kind: str, kinds: frozenset[str]) -> bool:
    """Whether two different names mean two: not where one may hold the other or be another name for it."""
    if kind in _COLLECTIVES:
        return False
    return kinds.isdisjoint(_COLLECTIVES) if kind in _PERSONS else kind in kinds
