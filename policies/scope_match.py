"""Whether a SMART scope covers a resource, by the resource's own content.

SMART 2.2, scopes for requesting FHIR resources: a scope parameter means what the same search parameter means.
Only token parameters are understood here; a scope with any other parameter covers nothing (unknown means deny).
"""

from collections.abc import Mapping
from functools import lru_cache

from policies.model import Coding, ResourceFacts, Scope


def names_type(scope: Scope, resource_type: str) -> bool:
    """Whether the scope speaks of this resource type at all."""
    return scope.resource_type in ("*", resource_type)


def covers(scope: Scope, facts: ResourceFacts) -> bool:
    """Whether the resource lies within the scope: its type, and every one of the scope's parameters."""
    return names_type(scope, facts.resource_type) and (
        not scope.parameters or all(has_token(facts.tokens, name, value) for name, value in scope.parameters)
    )


def has_token(tokens: Mapping[str, frozenset[Coding]], parameter: str, value: str) -> bool:
    """Token search (FHIR R4 §3.1.1.4.10) over extracted codings; commas mean "or"."""
    found = tokens.get(parameter)
    if not found:
        return False
    whole, open_ended = _parts(value)
    return not whole.isdisjoint(found) or any(_is_token(found, *part) for part in open_ended)


@lru_cache(maxsize=2_000)
def _parts(value: str) -> tuple[frozenset[Coding], tuple[tuple[str, str, bool], ...]]:
    """The codings that are named with system and code; the rest as system, code and whether a system is named.

    The catalogue's values come again and again.
    """
    found = [text.rpartition("|") for text in value.split(",")]
    whole = frozenset(Coding(system, code) for system, bar, code in found if bar and code)
    return whole, tuple((system, code, bool(bar)) for system, bar, code in found if not (bar and code))


def _is_token(found: frozenset[Coding], system: str, code: str, named: bool) -> bool:
    if not named:
        return any(coding.code == code for coding in found)
    return any(coding.system == system for coding in found)
