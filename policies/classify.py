"""What a resource is: its data categories and its sensitivities.

Sensitivity comes from `meta.security`, and from clinical codes where the upstream doesn't label
(docs/consent-semantics.md, "Sensitivity of data"). A label that the catalogue doesn't know, and a confidentiality above
normal that no known sensitivity explains, make the resource sensitive for a reason unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from policies.catalogue import OTHER_SENSITIVE, Catalogue, Category
from policies.codes import CONFIDENTIALITY_SYSTEM, PROVIDER_TAXONOMY_SYSTEM
from policies.model import Coding, ResourceFacts
from policies.scope_match import covers

RESTRICTED: Final = frozenset({Coding(CONFIDENTIALITY_SYSTEM, "R"), Coding(CONFIDENTIALITY_SYSTEM, "V")})


@dataclass(frozen=True, slots=True)
class Classification:
    """Codes of the categories that a resource is in."""

    everyday: frozenset[str]
    sensitive: frozenset[str]
    labels: frozenset[Coding]
    """The labels by which consents speak of it: its own and those that follow from its sensitivities."""


def classify(facts: ResourceFacts, catalogue: Catalogue) -> Classification:
    """Find every category of the resource. One with no everyday category belongs to nothing that can be granted."""
    everyday = _everyday(catalogue, facts.resource_type, tuple(facts.tokens.items()))
    codes = set(_sensitivities_of_codes(catalogue, facts.codes if facts.owners else _of_nobody(facts.codes)))
    for label in facts.labels:
        codes |= _sensitivities_of_label(catalogue, label)
    labels = set(facts.labels)
    for code in codes:
        labels |= own_labels(catalogue, catalogue.categories[code])
    if facts.labels and _unexplained(facts, catalogue, known=bool(codes)):
        codes |= {c.code for c in catalogue.sensitive if OTHER_SENSITIVE in c.labels}
        labels.add(OTHER_SENSITIVE)
    return Classification(everyday, frozenset(codes), frozenset(labels))


def _of_nobody(codes: frozenset[Coding]) -> frozenset[Coding]:
    """Who works as a psychiatrist says nothing of a patient, until it stands in a patient's own data."""
    return frozenset(code for code in codes if code.system != PROVIDER_TAXONOMY_SYSTEM)


# The same codes and labels come in nearly every resource, so what they mean is remembered (bounded; a catalogue never
# changes). The answers hang on the catalogue alone, never on who asks.


@lru_cache(maxsize=2_000)
def _everyday(
    catalogue: Catalogue, resource_type: str, tokens: tuple[tuple[str, frozenset[Coding]], ...]
) -> frozenset[str]:
    facts = ResourceFacts(resource_type, "", tokens=dict(tokens))
    return frozenset(
        category.code for category, scope in catalogue.scopes_by_type.get(resource_type, ()) if covers(scope, facts)
    )


@lru_cache(maxsize=2_000)
def _sensitivities_of_codes(catalogue: Catalogue, codes: frozenset[Coding]) -> frozenset[str]:
    return frozenset().union(*map(catalogue.sensitive_codes.of, codes))


@lru_cache(maxsize=2_000)
def _sensitivities_of_label(catalogue: Catalogue, label: Coding) -> frozenset[str]:
    return frozenset(c.code for c in catalogue.sensitive if label in c.labels)


@lru_cache(maxsize=200)
def own_labels(catalogue: Catalogue, category: Category) -> frozenset[Coding]:
    """Labels that follow from a category. One that several share (BH) doesn't: a deny of the other would match."""
    others = {label for c in catalogue.sensitive if c is not category for label in c.labels}
    return category.labels - others


def _unexplained(facts: ResourceFacts, catalogue: Catalogue, *, known: bool) -> bool:
    explained = {label for category in catalogue.sensitive for label in category.labels} | catalogue.harmless_labels
    unknown = facts.labels - explained
    return bool(unknown - RESTRICTED) or (bool(unknown) and not known)
