"""Whom and what consents name that only a directory can tell apart: groups, organizations, and what is related."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from policies.consent_rule import ConsentRule, Provision
from policies.memberships import CLINICIANS, COLLECTIVES, is_identifier, kind_of

_ASKED: Final = COLLECTIVES | CLINICIANS


@dataclass(frozen=True, slots=True)
class NamedInConsents:
    """Names as provisions have them."""

    actors: frozenset[str] = frozenset()
    """Groups, care teams, organizations, practitioners and their roles among the grantees, and identifiers of anybody
    but apps."""
    authors: frozenset[str] = frozenset()
    """Likewise among those whose data it is about."""
    related: frozenset[str] = frozenset()
    """Resources of which what they refer to is meant, too."""


def named_in(rules: Iterable[ConsentRule]) -> NamedInConsents:
    """What rules in force name, at any depth."""
    provisions = [p for rule in rules if rule.active for p in _all(rule.root)]
    data = [pair for p in provisions for pair in p.data]
    return NamedInConsents(
        _asked(name for p in provisions for name in p.actors),
        _asked(name for meaning, name in data if meaning == "authoredby"),
        frozenset(name for meaning, name in data if meaning == "related"),
    )


def _asked(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if kind_of(name) in _ASKED or is_identifier(name))


def _all(provision: Provision) -> Iterator[Provision]:
    yield provision
    for nested in provision.provisions:
        yield from _all(nested)
