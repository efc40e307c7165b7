"""Of which categories a patient's consents open something: for scopes, for pages, and for asking the upstream less.

INVARIANT: it may say more than is open, never less. What it leaves out isn't searched for and stands in no token's
scope; what it says too much is decided again, resource by resource (`policies.decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from policies.catalogue import Catalogue, Category
from policies.classify import Classification
from policies.codes import DATA_CATEGORY_SYSTEM, RESOURCE_TYPES_SYSTEM
from policies.consent_evaluation import Circumstances, applicable, consent_decision, holds, may_permit
from policies.consent_rule import ConsentRule, Provision
from policies.model import Coding, Permit, ResourceFacts


def open_categories(
    consents: Sequence[ConsentRule],
    around: Circumstances,
    catalogue: Catalogue,
    among: Iterable[Category] | None = None,
) -> tuple[Category, ...]:
    """Categories of which the consents open at least something. `among`: those that are asked about, None for all."""
    applied = applicable(consents, around)
    probing = _Probing(frozenset(c.code for c in catalogue.categories.values() if c.sensitive))
    probes = [probe for rule in applied for probe in probing.of(rule, around)]
    asked = catalogue.categories.values() if among is None else among
    return tuple(
        c for c in asked if c.always or (_is_let(applied, around, c) if c.sensitive else _opens(probes, around, c))
    )


def _is_let(rules: Sequence[ConsentRule], around: Circumstances, category: Category) -> bool:
    """A sensitive category opens nothing by itself: it is open when nothing denies it."""
    coding = Coding(DATA_CATEGORY_SYSTEM, category.code)
    denied = any(_denies(rule.root, coding, category.labels) for rule in rules)
    return bool(rules) and not denied and holds(around.within, category.code)


def _denies(provision: Provision, category: Coding, labels: frozenset[Coding]) -> bool:
    if provision.permit is not True and _is_detailed(provision) and not provision.not_understood:
        return False
    mine = provision.permit is not True and (category in provision.classes or not labels.isdisjoint(provision.labels))
    return mine or any(_denies(nested, category, labels) for nested in provision.provisions)


def _opens(probes: Sequence[ConsentRule], around: Circumstances, category: Category) -> bool:
    # What is in a part is in its whole too.
    kind = Classification(frozenset({category.code, category.part_of} - {""}), frozenset(), frozenset())
    return any(
        isinstance(consent_decision(probes, around, ResourceFacts(scope.resource_type, ""), kind), Permit)
        for scope in category.scopes
    )


class _Probing:
    """Takes from rules what is asked of single resources only."""

    def __init__(self, sensitive: frozenset[str]) -> None:
        self._sensitive = sensitive
        """Codes of the categories in which any resource may be besides its everyday ones."""

    def of(self, rule: ConsentRule, around: Circumstances) -> Iterator[ConsentRule]:
        """The rule as probes. Whom its root is for has been asked: whoever asks."""
        if rule.not_understood:
            yield rule
            return
        actors = tuple(around.grantees) if rule.root.actors and may_permit(rule, around) else ()
        for probe in self._probes(rule.root):
            yield replace(rule, root=probe if probe.not_understood else replace(probe, actors=actors))

    def _probes(self, provision: Provision) -> Iterator[Provision]:
        """A permit without such conditions, and its exceptions if it had none; what is permitted within a deny of them.

        Elsewhere another rule may permit what is excepted from some of the data only, or denied of some.
        """
        if provision.not_understood:
            yield provision
            return
        nested = tuple(chain.from_iterable(map(self._probes, provision.provisions)))
        told = all(map(self._is_told_by_category, provision.classes))
        if told and not provision.labels and not _is_detailed(provision):
            yield replace(provision, provisions=nested)
            return
        permits = tuple(chain.from_iterable(map(_permits, nested)))
        if provision.permit:
            bare = replace(provision, labels=(), document_types=(), codes=(), data_period=None, data=())
            yield replace(bare, classes=provision.classes if told else (), provisions=permits)
        else:
            yield from permits

    def _is_told_by_category(self, wanted: Coding) -> bool:
        """Whether a type and an everyday category are enough to tell; a profile and a sensitive category aren't."""
        if wanted.system == DATA_CATEGORY_SYSTEM:
            return wanted.code not in self._sensitive
        return wanted.system == RESOURCE_TYPES_SYSTEM


def _permits(provision: Provision) -> Iterator[Provision]:
    """The permits at any depth of what holds for part of the data only, each without what it excepts."""
    if provision.not_understood:
        return
    below = tuple(chain.from_iterable(map(_permits, provision.provisions)))
    if provision.permit:
        yield replace(provision, provisions=below)
    else:
        yield from below


def _is_detailed(provision: Provision) -> bool:
    return bool(provision.codes or provision.data or provision.document_types or provision.data_period is not None)
