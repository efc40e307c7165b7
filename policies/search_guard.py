"""Which searches may be asked. A search on a hidden element would answer what hiding it was to hide.

docs/leaks.md L01-L08. The guard is derived: `fhir` finds by the official SearchParameter expressions which elements a
parameter touches; here it is decided whether all of them are visible under the mask in force. Whatever isn't known
here by name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from policies.model import Deny, Permit, Reason

MODIFIERS: Final = {
    "token": frozenset({"", "not", "missing"}),
    "reference": frozenset({"", "missing"}),
    "string": frozenset({"", "exact", "contains", "missing"}),
    "date": frozenset({"", "missing"}),
    "number": frozenset({"", "missing"}),
    "quantity": frozenset({"", "missing"}),
    "uri": frozenset({"", "missing"}),
}
"""Modifiers let through, by kind of parameter. `:text`, `:in`, `:above` and the like reach beyond the element."""

COMMON_PARAMETERS: Final = frozenset({"_id", "_lastUpdated", "_profile"})
"""Parameters of every resource that touch nothing a mask hides."""


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """A search parameter as used in a request, with what it would reveal."""

    name: str
    modifier: str
    kind: str
    """Kind of the official parameter; empty when R4 has no such parameter for the type."""
    touches: tuple[str, ...]
    """JSON member paths below the type that its expression reads: `valueQuantity`, `name.family`."""


def guard_parameter(use: ParameterUse, resource_type: str, visible: Callable[[str], bool]) -> Permit | Deny:
    """Decide one use of a parameter, in a filter or in `_sort`."""
    if not use.kind:
        return _refuse(f"`{use.name}` is not a search parameter of `{resource_type}`")
    if use.modifier not in MODIFIERS.get(use.kind, frozenset()):
        what = f":{use.modifier}" if use.modifier else use.kind
        return _refuse(f"`{use.name}` can't be used with `{what}` here")
    if use.name in COMMON_PARAMETERS:
        return Permit()
    hidden = [path for path in use.touches if not visible(path)]
    if hidden or not use.touches:
        return _refuse(f"`{use.name}` would search what is not shown for this purpose")
    return Permit((Reason("guard", f"`{use.name}` touches only what is shown"),))


def is_visible(allowed: frozenset[str], path: str) -> bool:
    """Whether an element path lies wholly within an allow-list (itself, or an ancestor, named)."""
    parts = path.split(".")
    return any(".".join(parts[: i + 1]) in allowed for i in range(len(parts)))


def _refuse(text: str) -> Deny:
    return Deny((Reason("guard", text),))
