"""How consents decide about one resource: docs/consent-semantics.md, "What applies" to "Putting several together".

Two stages, because a page of results shares the first: `applicable` picks the consents that speak about this grantee,
purpose and moment; `consent_decision` asks them about a resource.
INVARIANT: deny overrides permit, and without a permit the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from policies.classify import Classification
from policies.codes import CONFIDENTIALITY_SYSTEM, DATA_CATEGORY_SYSTEM, RESOURCE_TYPES_SYSTEM
from policies.consent_rule import ConsentRule, Period, Provision
from policies.model import Coding, Decision, Deny, Permit, Reason, ResourceFacts

_READING: Final = frozenset({"access", "use", "disclose"})
_LEVELS: Final = {"U": 0, "L": 1, "M": 2, "N": 3, "R": 4, "V": 5}
_PURPOSE_ANCESTORS: Final = {
    # v3-PurposeOfUse, child -> parents that subsume it. BTG stands alone: only an explicit BTG matches it.
    "ETREAT": ("TREAT",),
    "CAREMGT": ("TREAT",),
    "CLINTRL": ("TREAT",),
    "POPHLTH": ("TREAT",),
    "CLINTRCH": ("HRESCH",),
    "CLINTRCHNPC": ("CLINTRCH", "HRESCH"),
    "CLINTRCHPC": ("CLINTRCH", "HRESCH"),
    "PRECLINTRCH": ("HRESCH",),
    "TRANSRCH": ("HRESCH",),
    "CLMATTCH": ("HPAYMT",),
    "COVAUTH": ("HPAYMT",),
    "COVERAGE": ("HPAYMT",),
    "ELIGDTRM": ("COVERAGE", "HPAYMT"),
    "ELIGVER": ("COVERAGE", "HPAYMT"),
    "ENROLLM": ("COVERAGE", "HPAYMT"),
    "REMITADV": ("HPAYMT",),
    "PATRQT": (),
    "FAMRQT": ("PATRQT",),
    "PWATRNY": ("PATRQT",),
    "SUPNWK": ("PATRQT",),
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who asks, what for, and when: the part of a request that is the same for every resource in the answer."""

    patient: str
    grantees: frozenset[str]
    """Every name under which the asking app is known: `system|value`, `Device/…`, its organization."""
    purpose: str
    now: datetime
    by_name: bool = False
    """Only a consent that names the grantee permits, as for a service, which nobody has launched; any one may deny."""


def applicable(consents: Iterable[ConsentRule], circumstances: Circumstances) -> tuple[ConsentRule, ...]:
    """The consents that speak about these circumstances."""
    return tuple(rule for rule in consents if _applies(rule, circumstances))


def _applies(rule: ConsentRule, around: Circumstances) -> bool:
    root = rule.root
    return (
        rule.active
        and rule.patient == around.patient
        and rule.period.holds(around.now)
        and root.period.holds(around.now)
        and _concerns(root, around)
    )


def _concerns(provision: Provision, around: Circumstances) -> bool:
    """Actor and purpose; something not understood concerns everyone, because it will deny."""
    if provision.not_understood:
        return True
    if provision.actors and around.grantees.isdisjoint(provision.actors):
        return False
    return not provision.purposes or any(_subsumes(p.code, around.purpose) for p in provision.purposes)


def _subsumes(granted: str, asked: str) -> bool:
    return granted == asked or granted in _PURPOSE_ANCESTORS.get(asked, ())


def consent_decision(
    rules: Iterable[ConsentRule], around: Circumstances, facts: ResourceFacts, kind: Classification
) -> Decision:
    """Decide one resource by all applicable consents together."""
    permits: list[Reason] = []
    denials: list[Reason] = []
    for rule in rules:
        found = _decide_rule(rule, around, facts, kind)
        if found is not None:
            permit, path = found
            if permit and around.by_name and not rule.root.actors:
                continue
            source = f"{rule.reference}#{path}"
            text = "the consent permits this" if permit else "the consent denies this"
            (permits if permit else denials).append(Reason("consent", text, source))
    if denials:
        return Deny(tuple(denials))
    if permits:
        return Permit(tuple(permits))
    return Deny((Reason("default", "no consent in force permits this"),))


def _decide_rule(
    rule: ConsentRule, around: Circumstances, facts: ResourceFacts, kind: Classification
) -> tuple[bool, str] | None:
    if rule.not_understood:
        return False, rule.not_understood[0]
    return _decide(rule.root, around, facts, kind)


def _decide(
    provision: Provision, around: Circumstances, facts: ResourceFacts, kind: Classification
) -> tuple[bool, str] | None:
    """The polarity that this provision gives the resource and where, or None when it doesn't match."""
    if provision.not_understood:
        return False, provision.path
    if not _matches(provision, around, facts, kind):
        return None
    exceptions = [
        found for nested in provision.provisions if (found := _decide(nested, around, facts, kind)) is not None
    ]
    for permit, path in exceptions:
        if not permit:
            return False, path
    if exceptions:
        return exceptions[0]
    return bool(provision.permit), provision.path


def _matches(provision: Provision, around: Circumstances, facts: ResourceFacts, kind: Classification) -> bool:
    """All attributes must match (AND); each matches by any of its values (OR); an absent one matches."""
    permit = bool(provision.permit)
    # The categories come first: they tell most provisions apart.
    return (
        (not provision.classes or _classes_match(provision.classes, facts, kind))
        and (not provision.labels or _labels_match(provision.labels, kind, permit=permit))
        and provision.period.holds(around.now)
        and _concerns(provision, around)
        and (not provision.actions or not _READING.isdisjoint(provision.actions))
        and (not provision.codes or not facts.codes.isdisjoint(provision.codes))
        and (provision.data_period is None or _dates_match(provision.data_period, facts, permit=permit))
        and (not provision.data or any(_data_matches(m, r, facts, permit=permit) for m, r in provision.data))
    )


def _labels_match(wanted: Iterable[Coding], kind: Classification, *, permit: bool) -> bool:
    level = max(
        (_LEVELS.get(c.code, 5) for c in kind.labels if c.system == CONFIDENTIALITY_SYSTEM),
        default=_LEVELS["N"],
    )
    for label in wanted:
        if label.system != CONFIDENTIALITY_SYSTEM:
            if label in kind.labels:
                return True
        elif label.code not in _LEVELS:
            return not permit
        elif level <= _LEVELS[label.code] if permit else level >= _LEVELS[label.code]:
            return True
    return False


def _classes_match(wanted: Iterable[Coding], facts: ResourceFacts, kind: Classification) -> bool:
    for system, code in wanted:
        if system == DATA_CATEGORY_SYSTEM:
            if code in kind.everyday or code in kind.sensitive:
                return True
        elif code == facts.resource_type if system == RESOURCE_TYPES_SYSTEM else code in facts.profiles:
            return True
    return False


def _dates_match(wanted: Period, facts: ResourceFacts, *, permit: bool) -> bool:
    """A permit needs the datum wholly inside, a deny any overlap; without a date, permit no, deny yes."""
    if facts.period is None:
        return not permit
    low, high = facts.period
    if permit:
        return wanted.holds(low) and wanted.holds(high)
    return (wanted.end is None or low <= wanted.end) and (wanted.start is None or high >= wanted.start)


def _data_matches(meaning: str, reference: str, facts: ResourceFacts, *, permit: bool) -> bool:
    itself = f"{facts.resource_type}/{facts.id}" == reference
    if meaning == "instance":
        return itself
    if meaning == "dependents":
        return reference in facts.references
    if meaning == "authoredby":
        return reference in facts.authors
    if meaning == "related":
        # What the named resource refers to can't be seen from here: a permit doesn't reach it, a deny is told by
        # what refers back. The other direction is decided where the named resource is at hand.
        return itself or reference in facts.references
    return not permit
