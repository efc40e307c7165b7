"""An interaction that is asked about, and not done: its name, and what it is about (`Type`, `Type/id`, a version)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fhir.r4.interaction import Interaction, InteractionCode
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES

NAMES: Final[Mapping[str, InteractionCode]] = {
    "read": "read",
    "vread": "vread",
    "history-instance": "history-instance",
    "search-type": "search-type",
    "create": "create",
    "update": "update",
    "patch": "patch",
    "delete": "delete",
    "$everything": "operation",
    "$export": "export",
}
"""FHIR restful-interaction codes, and operations by their names."""
OF_ONE: Final = ("read", "history-instance", "update", "patch", "delete")
"""Those that may be asked about one resource, and about a type."""
_ID: Final = r"[A-Za-z0-9.-]{1,64}"
_ABOUT: Final = re.compile(rf"([A-Z][A-Za-z]{{1,63}})(?:/({_ID})(?:/_history/({_ID}))?)?")


class UnfitQuestion(ValueError):
    """It can't be asked so; the text says how."""


def asked_interaction(name: str, about: str) -> Interaction:
    """`name` is one of NAMES. `$everything` and `$export` are asked about a type: what of it comes with them.

    Raises UnfitQuestion.
    """
    found = _ABOUT.fullmatch(about)
    if name not in NAMES:
        raise UnfitQuestion(f"the interactions are {', '.join(NAMES)}")
    if found is None or found[1] not in RESOURCE_TYPE_NAMES:
        raise UnfitQuestion(
            "it must be about a resource type of R4, as `Type`, `Type/id` or `Type/id/_history/version`"
        )
    kind, id, version = found[1], found[2] or "", found[3] or ""
    if bool(version) is not (name == "vread"):
        raise UnfitQuestion("`vread` is about a version, `Type/id/_history/version`, and nothing else is")
    if id and not version and name not in OF_ONE:
        raise UnfitQuestion(f"`{name}` is asked about a type, and not about one resource")
    if kind == "Binary":
        raise UnfitQuestion("a Binary is opened by the DocumentReference that points at it: ask about that one")
    return Interaction(NAMES[name], kind, id, version)
