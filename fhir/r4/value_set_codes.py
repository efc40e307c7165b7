"""Reads the codes of a FHIR R4 ValueSet: those of its expansion, else those that it lists one by one.

A value set that is defined by rules and isn't expanded can't be read: its codes are a terminology server's to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.system_names import usual_system


class NotListed(ValueError):
    """The value set doesn't list its codes; the message says what it has instead."""


def value_set_codes(value_set: object) -> Mapping[str, tuple[str, ...]]:
    """Codes by code system, in order, each once. Raises NotListed."""
    if not isinstance(value_set, dict) or value_set.get("resourceType") != "ValueSet":
        raise NotListed("it is no ValueSet")
    expansion, compose = value_set.get("expansion"), value_set.get("compose")
    if isinstance(expansion, dict) and "contains" in expansion:
        pairs = _expanded(expansion)
    elif isinstance(compose, dict):
        pairs = _composed(compose)
    else:
        raise NotListed("it has neither an expansion nor a list of codes")
    found: dict[str, dict[str, None]] = {}
    for system, code in pairs:
        if not isinstance(system, str) or not isinstance(code, str) or not system.strip() or not code.strip():
            raise NotListed("a code or its system is missing")
        found.setdefault(usual_system(system), {})[code.strip()] = None
    if not found:
        raise NotListed("it holds no codes")
    return {system: tuple(sorted(codes)) for system, codes in sorted(found.items())}


def _expanded(expansion: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """FHIR R4 ValueSet.expansion.contains; abstract entries only hold others."""
    total = expansion.get("total")
    edge, seen = _objects(expansion.get("contains")), 0
    while edge:
        item = edge.pop()
        seen += 1
        edge += _objects(item.get("contains"))
        if item.get("abstract") is not True and "code" in item:
            yield item.get("system"), item.get("code")
    if isinstance(total, int) and total > seen:
        raise NotListed(f"its expansion is a page: {seen} of {total} entries")


def _composed(compose: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """FHIR R4 ValueSet.compose, where every include lists its concepts and nothing is excluded."""
    if compose.get("exclude"):
        raise NotListed("it excludes codes and has no expansion")
    for include in _objects(compose.get("include")):
        if "filter" in include or "valueSet" in include or not include.get("concept"):
            raise NotListed("it is defined by rules and has no expansion")
        for concept in _objects(include["concept"]):
            yield include.get("system"), concept.get("code")


def _objects(value: object) -> list[dict[str, object]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise NotListed("it isn't shaped as FHIR JSON")
    return list(value)
