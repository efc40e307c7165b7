"""What of the asked scopes the granted categories leave: never more than was asked.

SMART 2.2: the granted scopes are what the token response says. A category is a set of scopes, so this is an
intersection of scopes: by type, letters and parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from policies.model import Scope
from policies.parts import lies_within

_Parameters = tuple[tuple[str, str], ...]


class CategoryScopes(Protocol):
    """What is needed of a category."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What belongs to it."""


def granted_scopes(
    asked: Sequence[Scope], granted: Iterable[CategoryScopes], known: Iterable[CategoryScopes]
) -> tuple[Scope, ...]:
    """Asked scopes narrowed to the granted categories.

    An asked scope is given whole when every known category that it touches is granted; else it is replaced by the
    parts that are, none of which lies within another.
    """
    open_lines = [line for category in granted for line in category.scopes]
    all_lines = [line for category in known for line in category.scopes]
    found: list[Scope] = []
    for scope in asked:
        touched = [line for line in all_lines if intersection(scope, line) is not None]
        parts = [part for line in open_lines if (part := intersection(scope, line)) is not None]
        whole = all(line in open_lines and set(scope.permissions) <= set(line.permissions) for line in touched)
        if touched and whole:
            parts = [scope]
        parts = [part for part in parts if not any(_is_more(other, part) for other in parts)]
        found.extend(part for part in parts if part not in found)
    return tuple(found)


def _is_more(wide: Scope, narrow: Scope) -> bool:
    """Whether the one holds the other and more."""
    letters = set(narrow.permissions) <= set(wide.permissions)
    return letters and lies_within(narrow, wide) and not lies_within(wide, narrow)


@dataclass(frozen=True, slots=True)
class _Lines:
    scopes: tuple[Scope, ...]


def granted_with_writes(
    asked: Sequence[Scope], granted: Mapping[str, Iterable[CategoryScopes]], known: Sequence[CategoryScopes]
) -> tuple[Scope, ...]:
    """As `granted_scopes`, for each set of letters (`rs`, `c`, `ud`) by the categories in which it is granted.

    Letters of what is the same otherwise come together again.
    """
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[Scope, set[str]]] = {}
    for letters, categories in granted.items():
        wanted = [part for scope in asked if (part := _with(scope, letters)) is not None]
        lines = [_Lines(tuple(replace(line, permissions=letters) for line in c.scopes)) for c in categories]
        everything = [_Lines(tuple(replace(line, permissions=letters) for line in c.scopes)) for c in known]
        for scope in granted_scopes(wanted, lines, everything):
            _, own = found.setdefault((scope.context, scope.resource_type, scope.parameters), (scope, set()))
            own.update(scope.permissions)
    return tuple(
        replace(scope, permissions="".join(letter for letter in "cruds" if letter in own))
        for scope, own in found.values()
    )


def _with(scope: Scope, letters: str) -> Scope | None:
    kept = "".join(letter for letter in scope.permissions if letter in letters)
    return replace(scope, permissions=kept) if kept else None


def intersection(asked: Scope, line: Scope) -> Scope | None:
    """What two scopes have in common, in the first one's context; None when nothing.

    Both sets of parameters hold together. Parameters that are the same stand once; two different values of one
    parameter are narrowed to the values that both name, and where they share none the scopes are disjoint.
    """
    resource_type = line.resource_type if asked.resource_type == "*" else asked.resource_type
    if line.resource_type not in ("*", resource_type):
        return None
    letters = "".join(letter for letter in asked.permissions if letter in line.permissions)
    parameters = _together(asked.parameters, line.parameters)
    if not letters or parameters is None:
        return None
    return Scope(asked.context, resource_type, letters, parameters)


def within(asked: Scope, registered: Iterable[Scope]) -> tuple[Scope, ...]:
    """What the scope has in common with others of its context: itself when one of them holds it whole."""
    pairs = (intersection(asked, own) for own in registered if own.context == asked.context)
    parts = tuple(dict.fromkeys(part for part in pairs if part is not None))
    return (asked,) if asked in parts else parts


def _together(mine: _Parameters, theirs: _Parameters) -> _Parameters | None:
    found = list(mine)
    for name, value in theirs:
        held = [v for n, v in mine if n == name]
        if value in held:
            continue
        if len(held) != 1 or sum(n == name for n, _ in theirs) > 1:
            found.append((name, value))  # a parameter that stands twice holds twice
            continue
        shared = [part for part in held[0].split(",") if part in value.split(",")]
        if not shared:
            return None
        found[found.index((name, held[0]))] = (name, ",".join(shared))
    return tuple(found)
