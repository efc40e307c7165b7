"""Who belongs to what, and whether somebody is meant by the names in a provision.

Names are `Type/id` or `system|value`. Memberships are handed in as data; without them a permit to a group reaches
nobody, and a deny to a group reaches everybody, because nobody can tell who isn't in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from policies.codes import CLIENT_SYSTEM

_MAX_NAMES: Final = 1_000
COLLECTIVES: Final = frozenset({"CareTeam", "Group", "Organization"})
"""Types of those whose members a directory knows."""
CLINICIANS: Final = frozenset({"Practitioner", "PractitionerRole"})
"""Types of those who use apps for their work."""
_PERSONS: Final = frozenset({"Patient", "Practitioner", "RelatedPerson"})
_COLLECTIVES: Final = frozenset(
    {"CareTeam", "Endpoint", "Group", "HealthcareService", "Location", "Organization", "PractitionerRole"}
)
OF_PERSONS: Final = _COLLECTIVES - {"PractitionerRole"}
"""Those that stand for several people: as an author, any of these may be who is named."""


@dataclass(frozen=True, slots=True)
class Memberships:
    """Knowledge of who belongs to what, as far as the names in question go."""

    held_by: Mapping[str, frozenset[str]]
    """Name -> the groups, organizations and roles that hold it directly, and other names of it."""
    formerly: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Likewise what held a name once: who wrote something may have left since. It counts for denies alone."""
    settled: frozenset[str] | None = None
    """The names of which it is known who belongs to them; of others more may. None: all are, and what isn't in
    `held_by` is held by nothing."""

    def of(self, names: Collection[str], *, ever: bool = False) -> tuple[frozenset[str], bool]:
        """The names and all that hold them, at any distance; and False when there are too many to follow (1,000).

        `ever`: or held them once.
        """
        found, edge = set(names), list(names)
        while edge:
            name = edge.pop()
            for holder in (*self.held_by.get(name, ()), *(self.formerly.get(name, ()) if ever else ())):
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
        found, complete = memberships.of(actual, ever=not permit)
        if not found.isdisjoint(wanted):
            return True
        if not permit and (not complete or memberships.settled is None):
            return not complete
    if permit:
        return False
    kinds = frozenset(map(kind_of, actual))
    settled = frozenset() if memberships is None else memberships.settled or frozenset()
    return not all(_is_another(name, kinds, settled) for name in wanted)


def _is_another(name: str, kinds: frozenset[str], settled: frozenset[str]) -> bool:
    """Whether the name means none of those whose names have these kinds."""
    kind = kind_of(name)
    if name in settled:
        return kinds.isdisjoint(OF_PERSONS - {kind} if kind == "Organization" else OF_PERSONS)
    return _told_apart(kind, kinds)


def kind_of(name: str) -> str:
    """The identifier's system, or the resource type."""
    system, bar, _ = name.rpartition("|")
    return system if bar else name.partition("/")[0]


def is_identifier(name: str) -> bool:
    """Whether a name is `system|value` of somebody who may have another name, too: apps have none."""
    return "|" in name and not name.startswith(f"{CLIENT_SYSTEM}|")


def _told_apart(kind: str, kinds: frozenset[str]) -> bool:
    """Whether two different names mean two: not where one may hold the other or be another name for it."""
    if kind in _COLLECTIVES:
        return False
    return kinds.isdisjoint(_COLLECTIVES) if kind in _PERSONS else kind in kinds


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known for rules beyond the request and the data. The default: nothing."""

    askers: Memberships | None = None
    """Of the app and the person behind it."""
    authors: Memberships | None = None
    """Of those who wrote data."""
    links: Mapping[str, frozenset[str]] | None = None
    """As `Circumstances.links`."""
    until: datetime | None = None
    """When it must be asked again; None where there was nothing to ask."""


NOTHING_KNOWN: Final = Knowledge()
