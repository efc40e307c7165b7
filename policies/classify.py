"""What a resource is: its data categories and its sensitivities.

Sensitivity comes from `meta.security`, and from clinical codes where the upstream doesn't label
(docs/consent-semantics.md, "Sensitivity of data"). A label that the catalogue doesn't know, and a confidentiality above
normal that no known sensitivity explains, make the resource sensitive for a reason unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from policies.catalogue import OTHER_SENSITIVE, Catalogue, Category
from policies.codes import CONFIDENTIALITY_SYSTEM
from policies.model import Coding, ResourceFacts
from policies.scope_match import covers

_RESTRICTED: Final = frozenset({Coding(CONFIDENTIALITY_SYSTEM, "R"), Coding(CONFIDENTIALITY_SYSTEM, "V")})
_NO_PREFIX: Final[tuple[str, ...]] = ()
_LOOKS_LIKE_ICD: Final = re.compile(r"[A-Z]\d")


@dataclass(frozen=True, slots=True)
class Classification:
    """Codes of the categories that a resource is in."""

    everyday: frozenset[str]
    sensitive: frozenset[str]
    labels: frozenset[Coding]
    """The labels by which consents speak of it: its own and those that follow from its sensitivities."""


def classify(facts: ResourceFacts, catalogue: Catalogue) -> Classification:
    """Find every category of the resource. One with no everyday category belongs to nothing that can be granted."""
    everyday = frozenset(
        category.code
        for category, scope in catalogue.scopes_by_type.get(facts.resource_type, ())
        if covers(scope, facts)
    )
    sensitive = [c for c in catalogue.sensitive if _is_sensitive(c, facts)]
    codes = {c.code for c in sensitive}
    labels = set(facts.labels)
    for category in sensitive:
        # A label that several categories share (BH) doesn't follow from one of them: a deny of the other would match.
        others = {label for c in catalogue.sensitive if c is not category for label in c.labels}
        labels |= category.labels - others
    if _unexplained(facts, catalogue, known=bool(sensitive)):
        codes |= {c.code for c in catalogue.sensitive if OTHER_SENSITIVE in c.labels}
        labels.add(OTHER_SENSITIVE)
    return Classification(everyday, frozenset(codes), frozenset(labels))


def _is_sensitive(category: Category, facts: ResourceFacts) -> bool:
    if not category.labels.isdisjoint(facts.labels) or not category.codes.isdisjoint(facts.codes):
        return True
    return any(_has_sensitive_code(category, coding) for coding in facts.codes)


def _has_sensitive_code(category: Category, coding: Coding) -> bool:
    """Blocks of a code system, and a code whose system is missing: that one is taken for any system's."""
    if coding.system:
        return coding.code.startswith(category.prefixes.get(coding.system, _NO_PREFIX))
    return coding.code in category.bare_codes or (
        _LOOKS_LIKE_ICD.match(coding.code) is not None
        and any(coding.code.startswith(prefixes) for prefixes in category.prefixes.values())
    )


def _unexplained(facts: ResourceFacts, catalogue: Catalogue, *, known: bool) -> bool:
    explained = {label for category in catalogue.sensitive for label in category.labels} | catalogue.harmless_labels
    unknown = facts.labels - explained
    return bool(unknown - _RESTRICTED) or (bool(unknown) and not known)
