"""Categories that are a part of another one: of all Conditions, those on the problem list.

The whole means what it meant without parts: all of its data, also what is in none of them. Who shares the whole shares
its parts, so naming both says nothing more than naming the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from policies.catalogue_document import CatalogueError
from policies.model import Scope


class Divisible(Protocol):
    """What is needed of a category."""

    @property
    def code(self) -> str:
        """Its code."""

    @property
    def part_of(self) -> str:
        """Code of the category of which it is a part; empty for none."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What belongs to it; nothing for a sensitive one."""

    @property
    def always(self) -> bool:
        """Whether nobody is asked about it."""


def check_parts(categories: Mapping[str, Divisible]) -> None:
    """Every part lies within its whole and is less than it, and no part has parts. Raises CatalogueError."""
    for category in categories.values():
        if category.part_of:
            _check(category, categories)


def _check(part: Divisible, categories: Mapping[str, Divisible]) -> None:
    place, whole = f"categories.{part.code}", categories.get(part.part_of)
    if whole is None:
        raise CatalogueError(f"{place}.part_of: there is no category `{part.part_of}`")
    if whole.part_of or not whole.scopes or whole.always:
        raise CatalogueError(
            f"{place}.part_of: `{whole.code}` can't have parts: it is a part itself, sensitive, or never asked about"
        )
    for line in part.scopes:
        if not any(lies_within(line, other) for other in whole.scopes):
            raise CatalogueError(f"{place}.data: `{line.resource_type}` here goes beyond what `{whole.code}` has")
    if all(any(lies_within(line, mine) for mine in part.scopes) for line in whole.scopes):
        raise CatalogueError(f"{place}.data: it is all of `{whole.code}`, not a part")


def lies_within(narrow: Scope, wide: Scope) -> bool:
    """Whether all that the one covers is covered by the other, as far as types and parameters tell."""
    if wide.resource_type not in ("*", narrow.resource_type):
        return False
    return all(
        any(own == name and set(held.split(",")) <= set(value.split(",")) for own, held in narrow.parameters)
        for name, value in wide.parameters
    )


def with_parts(codes: Iterable[str], wholes: Mapping[str, str]) -> frozenset[str]:
    """The codes, and those of the parts of each. `wholes`: of each part, the code of its whole."""
    named = frozenset(codes)
    return named | {part for part, whole in wholes.items() if whole in named}


def joined(codes: Iterable[str], wholes: Mapping[str, str]) -> tuple[str, ...]:
    """The codes without the parts of which the whole is there, in their order."""
    named = tuple(codes)
    return tuple(code for code in named if wholes.get(code) not in named)
