"""What consents leave to be kept back from what a token's scopes let through: IHE PCF 1.1, `residual` of ITI-71.

For gateways that enforce by themselves. A residual rule knows labels, dates and resources, and nothing of classes or
codes, and a permit among them overrides every forbid. INVARIANT: what can't be said so is said too narrowly: a forbid
loses conditions, a permit is left out, and where both would be wrong everything is forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from policies.catalogue import OTHER_SENSITIVE, Catalogue, Category
from policies.classify import RESTRICTED
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM, DATA_CATEGORY_SYSTEM
from policies.consent_evaluation import Circumstances, applicable, concerns, holds
from policies.consent_rule import ConsentRule, Period, Provision
from policies.model import Coding
from policies.purpose_of_use import BREAK_GLASS
from policies.security_labels import DENIED, LEVELS, deny_reaches


@dataclass(frozen=True, slots=True)
class ResidualRule:
    """Data with one of the labels, of the time, and one of the resources; without any of them, all data."""

    permit: bool
    labels: tuple[Coding, ...] = ()
    data_period: Period | None = None
    data: tuple[tuple[str, str], ...] = ()


_ALL: Final = ResidualRule(False)
CLOSED: Final = (_ALL,)
"""Nothing is let through."""


def residual_rules(
    rules: Iterable[ConsentRule], around: Circumstances, catalogue: Catalogue, opened: Iterable[Category]
) -> tuple[ResidualRule, ...]:
    """What to keep back of what the scopes open for these circumstances; empty: nothing.

    `opened`: the categories of which they are made (`policies.open_categories`).
    """
    asked = applicable(rules, around)
    roots = [rule.root for rule in asked]
    if any(rule.not_understood or _is_unclear(rule.root) for rule in asked):
        return CLOSED
    permitting = [root for root in roots if root.permit and concerns(root, around)]
    bare = [root for root in permitting if _condition(root) == ResidualRule(True)]
    if not permitting or any(not _is_told(root) for root in permitting):
        return CLOSED
    if len(bare) < len(permitting) and len({frozenset(root.classes) for root in permitting}) > 1:
        return CLOSED  # the condition of one kind of data would go with the others
    everyday = [category for category in opened if not (category.always or category.sensitive)]
    if not all(any(_opens(root, category) for root in bare or permitting) for category in everyday):
        return CLOSED  # the scopes name what is open on conditions only
    denies = [deny for root in roots for deny in _denies(root, around)]
    kept_back = [rule for deny in denies for rule in _forbidden(deny, everyday, catalogue)]
    forbids = list(dict.fromkeys([*_beyond(around, catalogue), *kept_back]))
    if _ALL in forbids:
        return CLOSED
    if bare:
        return tuple(forbids)
    permits = [*map(_condition, permitting), *(rule for root in permitting for rule in _added(root, around))]
    if forbids and not all(_is_by_level(rule) for rule in (*permits, *forbids)):
        return CLOSED  # a permit would override a forbid of the same data
    return (_ALL, *dict.fromkeys(_beside(permits, forbids)), *forbids)


def _is_unclear(provision: Provision) -> bool:
    return bool(provision.not_understood) or any(map(_is_unclear, provision.provisions))


def _is_told(provision: Provision) -> bool:
    """Whether the scopes tell what the residual can't: everyday categories."""
    by_class = all(coding.system == DATA_CATEGORY_SYSTEM for coding in provision.classes)
    return by_class and not provision.codes and not provision.document_types


def _condition(provision: Provision) -> ResidualRule:
    return ResidualRule(bool(provision.permit), provision.labels, provision.data_period, provision.data)


def _beyond(around: Circumstances, catalogue: Catalogue) -> list[ResidualRule]:
    """Sensitive categories to which the token isn't held."""
    beyond = [category for category in catalogue.sensitive if not holds(around.within, category.code)]
    return [_forbid(_labels_of(category)) for category in beyond]


def _opens(root: Provision, category: Category) -> bool:
    """Whether a permit that goes by classes alone names the category, or the whole of it."""
    return not root.classes or not {category.code, category.part_of}.isdisjoint(_categories(root))


def _categories(provision: Provision) -> set[str]:
    return {coding.code for coding in provision.classes if coding.system == DATA_CATEGORY_SYSTEM}


def _denies(provision: Provision, around: Circumstances) -> Iterator[Provision]:
    """Provisions that deny, at any depth. What is permitted within a deny stays forbidden."""
    # For break-glass an exception may speak though its parent's purposes don't match (policies.consent_evaluation).
    emergency = around.purpose == BREAK_GLASS
    if not concerns(replace(provision, purposes=()) if emergency else provision, around):
        return
    if not provision.permit and concerns(provision, around):
        yield provision
        if not provision.labels:
            return  # what is denied in it lies within it; else it may have labels of its own
    for nested in provision.provisions:
        yield from _denies(nested, around)


def _forbidden(deny: Provision, opened: Sequence[Category], catalogue: Catalogue) -> list[ResidualRule]:
    codes = _categories(deny)
    told = len(codes) == len(deny.classes) and all(code in catalogue.categories for code in codes)
    labels = _reached(deny.labels)
    if not deny.classes or not told or deny.labels:
        whole = not deny.labels or deny_reaches(deny.labels, frozenset())
        return [ResidualRule(False, () if whole else labels, deny.data_period, deny.data)]
    denied = [catalogue.categories[code] for code in sorted(codes)]
    if any(_may_share(one, other) for one in denied for other in opened):
        return [ResidualRule(False, (), deny.data_period, deny.data)]  # the scopes of the other let it through
    by_label = [_forbid(_labels_of(category)) for category in denied if category.sensitive]
    return [rule if rule == _ALL else replace(_condition(deny), labels=rule.labels) for rule in by_label]


def _may_share(one: Category, other: Category) -> bool:
    """Whether a resource may be in both everyday categories; each shares with itself."""
    types = {scope.resource_type for scope in one.scopes}
    return any(scope.resource_type in types for scope in other.scopes)


def _forbid(labels: Iterable[Coding]) -> ResidualRule:
    return ResidualRule(False, tuple(sorted(labels)))


def _labels_of(category: Category) -> tuple[Coding, ...]:
    """Labels by which data may be in a sensitive category; any that is restricted may be in the one for the rest."""
    rest = RESTRICTED if OTHER_SENSITIVE in category.labels else frozenset()
    return tuple(sorted(category.labels | rest))


@lru_cache(maxsize=500)
def _reached(labels: tuple[Coding, ...]) -> tuple[Coding, ...]:
    """The labels that a deny names, and those that count as them."""
    levels = [Coding(CONFIDENTIALITY_SYSTEM, code) for code in LEVELS]
    known = {*labels, *levels, *(Coding(ACT_CODE_SYSTEM, c.code) for row in DENIED.values() for c in row)}
    return tuple(sorted(label for label in known if deny_reaches(labels, frozenset({label}))))


def _added(root: Provision, around: Circumstances) -> list[ResidualRule]:
    """Permits under a permit that add to it (policies.consent_evaluation), as far as they can be said."""
    found = []
    for nested in root.provisions:
        plain = not (nested.classes or nested.codes or nested.document_types or nested.provisions or nested.data)
        if nested.permit and nested.labels and plain and nested.data_period is None and concerns(nested, around):
            found.append(replace(_condition(root), labels=nested.labels))
    return found


def _beside(permits: Iterable[ResidualRule], forbids: Iterable[ResidualRule]) -> Iterator[ResidualRule]:
    """Permits without the levels that another consent, or an exception, forbids."""
    forbidden = {label for rule in forbids for label in rule.labels}
    for rule in permits:
        labels = tuple(label for label in rule.labels if label not in forbidden)
        if labels or not rule.labels:
            yield replace(rule, labels=labels)


def _is_by_level(rule: ResidualRule) -> bool:
    """Data has one level, so that rules by levels alone can't speak of the same."""
    by_level = bool(rule.labels) and all(label.system == CONFIDENTIALITY_SYSTEM for label in rule.labels)
    return by_level and rule.data_period is None and not rule.data
