"""What resources of a directory say of who belongs to whom: Group, CareTeam, PractitionerRole, Organization (FHIR R4).

What isn't told for certain is told as such: a resource with members that have no name here, with a modifier, or not in
use holds nobody, and nobody can say who isn't in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir.consents.elements import IN_USE, read_period, reference_names

Json = Mapping[str, object]
MOST_MEMBERS: Final = 5_000
"""Of one group; who has more isn't read."""


@dataclass(frozen=True, slots=True)
class Members:
    """Who belongs to something directly."""

    names: frozenset[str] = frozenset()
    """`Type/id`, or `system|value` for one who is named by an identifier."""
    whole: bool = False
    """Whether nobody else does: all have names."""


UNKNOWN: Final = Members()


def members_of(resource: Json, now: datetime) -> Members:
    """The members of a Group, CareTeam or PractitionerRole."""
    if "modifierExtension" in resource or "implicitRules" in resource:
        return UNKNOWN
    match resource.get("resourceType"):
        case "Group":
            return _of_group(resource, now)
        case "CareTeam":
            return _of_team(resource, now)
        case "PractitionerRole":
            return _named([resource.get("practitioner")]) if is_held(resource, now) else UNKNOWN
    return UNKNOWN


def _of_group(group: Json, now: datetime) -> Members:
    listed = _list(group.get("member"))
    if group.get("actual") is not True or group.get("active", True) is not True or len(listed) > MOST_MEMBERS:
        return UNKNOWN
    current = [m for m in listed if m.get("inactive", False) is not True and in_period(m.get("period"), now)]
    found = _named([member.get("entity") for member in current])
    number = group.get("quantity", len(listed))
    counted = isinstance(number, int) and number <= len(listed) and not any("modifierExtension" in m for m in listed)
    return Members(found.names, found.whole and counted)


def _of_team(team: Json, now: datetime) -> Members:
    listed = _list(team.get("participant"))
    if team.get("status") != "active" or not in_period(team.get("period"), now) or len(listed) > MOST_MEMBERS:
        return UNKNOWN
    return _named([part.get("member") for part in listed if in_period(part.get("period"), now)])


def is_held(role: Json, now: datetime) -> bool:
    """Whether a PractitionerRole is in use."""
    return role.get("active", True) is True and "modifierExtension" not in role and in_period(role.get("period"), now)


def in_period(value: object, now: datetime) -> bool:
    """Whether an optional Period holds; one that can't be read doesn't."""
    problems: list[str] = []
    return value is None or (read_period(value, "period", problems).holds(now) and not problems)


def name_at(value: object) -> str:
    """The name that a Reference gives: `Type/id` here, else `system|value`; empty for none."""
    if not isinstance(value, dict):
        return ""
    literal = reference_names(value.get("reference"), permit=True)
    if literal and literal[0].count("/") == 1:
        return literal[0]
    identifier = value.get("identifier")
    if not literal and isinstance(identifier, dict):
        system, told = identifier.get("system"), identifier.get("value")
        in_use = identifier.get("use", "usual") in IN_USE
        if in_use and isinstance(system, str) and isinstance(told, str) and system and told:
            return f"{system}|{told}"
    return ""


def references_in(value: object) -> Iterator[str]:
    """`Type/id` of everything here that a resource refers to, at any depth; a version of something counts as it."""
    if isinstance(value, dict):
        literal = value.get("reference")
        if isinstance(literal, str) and ":" not in literal:
            yield from reference_names(literal, permit=False)[-1:]
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)


def _named(references: Iterable[object]) -> Members:
    names = [name_at(reference) for reference in references]
    return Members(frozenset(name for name in names if name), all(names))


def _list(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
