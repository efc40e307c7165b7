"""Reads plain mappings of a catalogue's documents strictly: every error names its place, unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet


class CatalogueError(ValueError):
    """The catalogue can't be used; the message names the place and says what is allowed there."""


def check_keys(
    place: str, item: Mapping[str, object], needed: AbstractSet[str], *, optional: AbstractSet[str] = frozenset()
) -> None:
    """Exactly the needed keys, and of others none but the optional ones. Raises CatalogueError, like all below."""
    unknown, missing = sorted(set(item) - needed - optional), sorted(needed - set(item))
    if unknown:
        raise CatalogueError(
            f"{place}: `{unknown[0]}` is not known here, allowed: {', '.join(sorted(needed | optional))}"
        )
    if missing:
        raise CatalogueError(f"{place}: `{missing[0]}` is missing")


def mapping_at(place: str, value: object) -> Mapping[str, object]:
    """A mapping."""
    if not isinstance(value, Mapping):
        raise CatalogueError(f"{place}: must be a mapping")
    return value


def items_at(place: str, value: object) -> list[Mapping[str, object]]:
    """A list of mappings."""
    if not isinstance(value, list):
        raise CatalogueError(f"{place}: must be a list")
    return [mapping_at(place, item) for item in value]


def strings_at(place: str, value: object) -> list[str]:
    """A list of texts, none of them empty."""
    if not isinstance(value, list):
        raise CatalogueError(f"{place}: must be a list of texts")
    return [string_at(place, item) for item in value]


def string_at(place: str, value: object) -> str:
    """A text that isn't empty, without space around it."""
    if not isinstance(value, str) or not value.strip():
        raise CatalogueError(f"{place}: must be a text, found `{value}`")
    return value.strip()
