"""Whom an identifier means that stands where a reference should: `Reference.identifier` (FHIR R4 §2.3.0.2).

The directory is searched for who has it, system and value both. It tells whom it means if exactly one does, and not by
an identifier that is out of use. Else it isn't known.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from fhir.consents.directory_lookup import Lookup
from fhir.consents.elements import IN_USE
from fhir.consents.members import Json, in_period

_TYPES: Final = ("Practitioner", "PractitionerRole", "Organization", "CareTeam", "Group")
"""In this order, up to the first of which any has the identifier: a role may repeat its practitioner's."""
_AT_ONCE: Final = 40
"""Identifiers in one search: they stand in the upstream's URL."""


async def identified(lookup: Lookup, names: Collection[str], now: datetime) -> dict[str, str]:
    """`Type/id` for each `system|value` of which it is certain."""
    listed, found = sorted(names), dict[str, str]()
    for begin in range(0, len(listed), _AT_ONCE):
        left = listed[begin : begin + _AT_ONCE]
        for kind in _TYPES:
            answer = await lookup.search(kind, "identifier", ",".join(map(_token, left))) if left else ()
            if answer is None:
                break
            having = {name: [resource for resource in answer if _has(resource, name)] for name in left}
            for name, resources in having.items():
                if len(resources) == 1 and _has_clearly(resources[0], name, now):
                    found[name] = f"{kind}/{resources[0].get('id')}"
            left = [name for name in left if not having[name]]
    return found


def _token(name: str) -> str:
    """As a search parameter's value (FHIR R4 §3.1.1.4.0)."""
    system, _, value = name.partition("|")
    return "|".join(_escaped(part) for part in (system, value))


def _escaped(text: str) -> str:
    for special in "\\,|$":
        text = text.replace(special, f"\\{special}")
    return text


def _identifiers(resource: Json, name: str) -> list[Json]:
    listed = resource.get("identifier")
    listed = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [item for item in listed if f"{item.get('system')}|{item.get('value')}" == name]


def _has(resource: Json, name: str) -> bool:
    return bool(_identifiers(resource, name))


def _has_clearly(resource: Json, name: str, now: datetime) -> bool:
    clear = "modifierExtension" not in resource and "implicitRules" not in resource
    return clear and all(
        item.get("use", "usual") in IN_USE and in_period(item.get("period"), now)
        for item in _identifiers(resource, name)
    )
