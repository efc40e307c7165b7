"""About which data categories an app's scopes ask, and whether it asks to write."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fhir.r4.interaction import NOT_WRITTEN
from policies.catalogue import Catalogue, Category
from policies.model import WRITE_ACTIONS, Scope
from policies.parts import joined, lies_within
from smart.scope_intersection import intersection
from smart.scope_syntax import split_scope


def asked_categories(scope: str, catalogue: Catalogue, *, writes: bool = False) -> tuple[str, ...]:
    """Categories that the asked scopes touch; sensitive ones cut across, so any clinical scope may touch them.

    `writes`: whether scopes that only write count, as where apps may write.
    """
    _, clinical, _ = split_scope(scope)
    return touched_categories(clinical, catalogue, writes=writes)


def touched_categories(clinical: Collection[Scope], catalogue: Catalogue, *, writes: bool = False) -> tuple[str, ...]:
    """As `asked_categories`, of clinical scopes.

    Who asks for parts of a category alone asks for these parts; who asks for the whole asks for its parts with it, and
    they aren't named.
    """
    letters = "cruds" if writes else "rs"
    everyday = [c.code for c in catalogue.everyday if any(_asks_for(s, c, catalogue, letters) for s in clinical)]
    return (*joined(everyday, catalogue.wholes), *(c.code for c in catalogue.sensitive)) if everyday else ()


def _asks_for(asked: Scope, category: Category, catalogue: Catalogue, letters: str) -> bool:
    """INVARIANT: what lies in parts of a category never asks for the whole, which would be shown and kept as asked."""
    parts = [line for part in catalogue.parts_of(category.code) for line in part.scopes]
    met = [line for line in category.scopes if _touches(asked, line, letters)]
    return any(not _lies_in(replace(asked, resource_type=line.resource_type), parts) for line in met)


def _lies_in(asked: Scope, lines: Collection[Scope]) -> bool:
    """Whether the lines together hold all of it: values of one parameter, each within one of them."""
    return any(
        all(any(lies_within(_with_value(asked, n, value), line) for line in lines) for value in values.split(","))
        for n, (_, values) in enumerate(asked.parameters)
    )


def _with_value(asked: Scope, place: int, value: str) -> Scope:
    before, (name, _), after = asked.parameters[:place], asked.parameters[place], asked.parameters[place + 1 :]
    return replace(asked, parameters=(*before, (name, value), *after))


def asked_writes(scope: str, catalogue: Catalogue, among: Collection[str] | None = None) -> str:
    """Which of the letters `c`, `u` and `d` the asked scopes have for something that apps write.

    `among`: codes of the categories that are asked about, None for all.
    """
    _, clinical, _ = split_scope(scope)
    categories = [c for c in catalogue.everyday if among is None or c.code in among]
    lines = [line for c in categories for line in c.scopes if line.resource_type not in NOT_WRITTEN]
    return "".join(
        letter
        for letter in WRITE_ACTIONS
        if any(letter in asked.permissions and _touches(asked, line, letter) for asked in clinical for line in lines)
    )


def _touches(asked: Scope, line: Scope, letters: str) -> bool:
    """Whether they have one of the letters in common; of what no app writes, only what is read counts."""
    if line.resource_type in NOT_WRITTEN:
        letters = "rs"
    return intersection(asked, replace(line, permissions=letters)) is not None
