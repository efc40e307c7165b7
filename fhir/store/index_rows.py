"""What is written into the value tables for a resource, so that searches find it.

The values themselves come from `fhir.search.values`; here they become rows, cut to the length that is indexed and
folded the way `fhir.store.search_sql` compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhir.r4.definitions import Definitions, SearchParameter
from fhir.r4.own_types import is_indexed
from fhir.search.literals import INDEXED_LENGTH
from fhir.search.values import (
    DateRange,
    Number,
    Quantity,
    Ref,
    SearchValue,
    Text,
    Token,
    Uri,
    normalized_text,
    values_of,
)

OWN_COLUMNS: Final = frozenset({"_id", "_lastUpdated"})
"""Parameters answered from columns of `fhir_resource`."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "fhir_token": ("system", "code", "text"),
    "fhir_reference": ("target_type", "target_id", "url", "identifier_system", "identifier_value"),
    "fhir_date": ("low", "high"),
    "fhir_string": ("normalized", "value"),
    "fhir_quantity": ("low", "high", "system", "code", "unit"),
    "fhir_uri": ("value",),
}
"""The value's columns of each value table; before them stand `pk`, `resource_type`, `param`."""

KEY_COLUMNS: Final = ("pk", "resource_type", "param")


class Indexer:
    """Finds the rows of resources; keeps, for each type, which parameters can find something at all."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._plans: dict[str, list[tuple[SearchParameter, frozenset[str]]]] = {}

    def rows(self, pk: int, resource_type: str, content: Mapping[str, object]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Table and row (`KEY_COLUMNS`, then the table's `COLUMNS`) for each value that a resource is found by."""
        present = content.keys()
        for parameter, starts in self._plan(resource_type):
            # Most parameters of a type read elements that a given resource doesn't have; an empty set reads always.
            if starts and starts.isdisjoint(present):
                continue
            for value in values_of(content, parameter, self._definitions):
                table, values = _row(value)
                yield table, (pk, resource_type, parameter.code, *values)

    def _plan(self, resource_type: str) -> list[tuple[SearchParameter, frozenset[str]]]:
        plan = self._plans.get(resource_type)
        if plan is None:
            parameters = self._definitions.search_parameters(resource_type).values()
            plan = [
                (p, _starts(p))
                for p in parameters
                if p.paths and p.code not in OWN_COLUMNS and is_indexed(resource_type, p.code)
            ]
            self._plans[resource_type] = plan
        return plan


def _starts(parameter: SearchParameter) -> frozenset[str]:
    """The elements at which a parameter starts reading; empty when it finds something in their absence too."""
    if any(path.exists or not path.steps for path in parameter.paths):
        return frozenset()
    return frozenset(path.steps[0] for path in parameter.paths)


def _row(value: SearchValue) -> tuple[str, tuple[Any, ...]]:
    match value:
        case Token(system, code, text):
            return "fhir_token", (_cut(system), _cut(code.casefold()), _cut(normalized_text(text)) if text else None)
        case Ref():
            target = (_cut(value.type), _cut(value.id), _cut(value.url))
            identifier = (_cut(value.identifier_system), _cut(value.identifier_value.casefold()))
            return "fhir_reference", target + identifier
        case DateRange(low, high):
            return "fhir_date", (low, high)
        case Text():
            return "fhir_string", (_cut(value.normalized), _cut(value.value))
        case Number(low, high):
            return "fhir_quantity", (low, high, "", "", "")
        case Quantity():
            unit = (_cut(value.system), _cut(value.code), _cut(value.unit))
            return "fhir_quantity", (value.low, value.high, *unit)
        case Uri():
            return "fhir_uri", (_cut(value.value),)


def _cut(text: str) -> str:
    return text[:INDEXED_LENGTH]
