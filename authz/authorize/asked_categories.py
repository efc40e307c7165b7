"""About which data categories an app's scopes ask, and whether it asks to write."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fhir.r4.interaction import NOT_WRITTEN
from policies.catalogue import Catalogue
from policies.model import WRITE_ACTIONS, Scope
from smart.scope_intersection import intersection
from smart.scope_syntax import split_scope


def asked_categories(scope: str, catalogue: Catalogue, *, writes: bool = False) -> tuple[str, ...]:
    """Categories that the asked scopes touch; sensitive ones cut across, so any clinical scope may touch them.

    `writes`: whether scopes that only write count, as where apps may write.
    """
    _, clinical, _ = split_scope(scope)
    letters = "cruds" if writes else "rs"
    everyday = [
        category.code
        for category in catalogue.everyday
        if any(_touches(asked, line, letters) for asked in clinical for line in category.scopes)
    ]
    return (*everyday, *(c.code for c in catalogue.sensitive)) if everyday else ()


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
