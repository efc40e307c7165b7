"""How consents decide about one resource: docs/consent-semantics.md, "What applies" to "Putting several together".

Two stages, because a page of results shares the first: `applicable` picks the consents that speak about this grantee,
purpose and moment; `consent_decision` asks them about a resource.
INVARIANT: deny overrides permit, and without a permit the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from policies.classify import Classification
from policies.codes import DATA_CATEGORY_SYSTEM, RESOURCE_TYPES_SYSTEM
from policies.consent_rule import ConsentRule, Period, Provision
from policies.memberships import CLINICIANS, Memberships, kind_of, means
from policies.model import READ_ACTIONS, Coding, Decision, Deny, Permit, Reason, ResourceFacts
from policies.purpose_of_use import BREAK_GLASS, BREAK_GLASS_CODING, covering
from policies.security_labels import deny_reaches, permit_reaches

_SPEAKERS: Final = {"consent": "the consent", "emergency": "emergency access"}
_THE_THING_ITSELF: Final = frozenset({"instance", "related", "dependents"})
"""Meanings that what is named has part in (FHIR R4 consent-data-meaning)."""
_ANY_TYPE: Final = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who asks, what for, and when: the part of a request that is the same for every resource in the answer.

    What a caller can't hand in makes permits that need it match nothing, and denies that need it match.
    """

    patient: str
    grantees: frozenset[str]
    """Every name under which the asking app is known: `system|value`, `Device/…`."""
    purpose: str
    """A code of v3-PurposeOfUse, or `system|code` of another system."""
    now: datetime
    by_name: bool = False
    """Only a consent that names the grantee permits, as for a service, which nobody has launched; any one may deny."""
    users: frozenset[str] = frozenset()
    """Names of the person behind the app; empty for one whom FHIR doesn't know. What is denied to them is denied to the
    app. What is permitted to a clinician is permitted to the app in their hands; a permit to another opens nothing."""
    memberships: Memberships | None = None
    """Groups and organizations that hold the app or the person; None: not known."""
    authorships: Memberships | None = None
    """Those that hold the authors of data; None: not known."""
    links: Mapping[str, frozenset[str]] | None = None
    """Of resources that consents name as `related`: what they refer to. One that isn't in it isn't known."""
    categories: frozenset[str] = frozenset()
    """Every data category there is; a deny of any other one denies everything. Empty: not known, none is checked."""
    wholes: Mapping[str, str] = field(default_factory=dict)
    """Of each data category that is a part, its whole: a bound on the one can let pass what names the other."""
    within: frozenset[str] | None = None
    """Codes of the data categories beyond which nothing is permitted; None for no bound."""
    writes: str = ""
    """The code of consentaction that a write needs; empty for reading."""


class _Question(NamedTuple):
    around: Circumstances
    facts: ResourceFacts
    kind: Classification


def applicable(consents: Iterable[ConsentRule], circumstances: Circumstances) -> tuple[ConsentRule, ...]:
    """The consents that speak about these circumstances."""
    return tuple(rule for rule in consents if _applies(rule, circumstances))


def _applies(rule: ConsentRule, around: Circumstances) -> bool:
    root = rule.root
    if not (rule.active and rule.patient == around.patient):
        return False
    if not (rule.period.holds(around.now) and root.period.holds(around.now)):
        return False
    if rule.not_understood or root.not_understood:
        return True  # whom it concerns isn't certain either
    return _means_asker(root, around) and (_purpose_covers(root, around) or _names_break_glass(root, around))


def consent_decision(
    rules: Iterable[ConsentRule], around: Circumstances, facts: ResourceFacts, kind: Classification
) -> Decision:
    """Decide one resource by all applicable consents together."""
    if around.within is not None and not (kind.everyday & around.within and kind.sensitive <= around.within):
        return Deny((Reason("token", "the token is held to other categories by its `authorization_details`"),))
    permits: list[Reason] = []
    denials: list[Reason] = []
    question = _Question(around, facts, kind)
    for rule in rules:
        found = (False, rule.not_understood[0]) if rule.not_understood else _decide(rule.root, question)
        if found is not None:
            permit, path = found
            if permit and not may_permit(rule, around):
                continue
            source = f"{rule.reference}#{path}"
            text = f"{_SPEAKERS[rule.kind]} {'permits' if permit else 'denies'} this"
            (permits if permit else denials).append(Reason(rule.kind, text, source))
    if denials:
        return Deny(tuple(denials))
    if permits:
        return Permit(tuple(permits))
    return Deny((Reason("default", "no consent in force permits this"),))


def may_permit(rule: ConsentRule, around: Circumstances) -> bool:
    """Whether a permit in it counts: one for a service names it, and no group that holds it."""
    return not around.by_name or not around.grantees.isdisjoint(rule.root.actors)


def concerns(provision: Provision, around: Circumstances) -> bool:
    """Whether a provision speaks about these circumstances, whatever the data."""
    speaks = provision.period.holds(around.now) and _means_asker(provision, around)
    return speaks and _speaks_of_action(provision, around) and _purpose_covers(provision, around)


def holds(within: frozenset[str] | None, category: str) -> bool:
    """Whether a category lies within the bound."""
    return within is None or category in within


def looks_at_details(provision: Provision) -> bool:
    """Whether a provision, or one in it, tells apart resources of the same type, classes and labels."""
    return bool(provision.codes or provision.data or provision.data_period is not None) or any(
        map(looks_at_details, provision.provisions)
    )


def denied_by_name(
    rules: Iterable[ConsentRule], around: Circumstances, facts: ResourceFacts, kind: Classification
) -> bool:
    """Whether a provision that denies names the resource, or what it refers to: asked of what is about nobody."""
    question = _Question(around, facts, kind)
    return any(_denies_by_name(rule.root, question) for rule in rules)


def _denies_by_name(provision: Provision, question: _Question) -> bool:
    if not (_holds_for_all_below(provision, question) and _purpose_covers(provision, question.around)):
        return False
    if not provision.permit and any(_names(*named, question.facts) for named in provision.data):
        return True
    return any(_denies_by_name(nested, question) for nested in provision.provisions)


def _names(meaning: str, reference: str, facts: ResourceFacts) -> bool:
    itself = meaning in _THE_THING_ITSELF and reference == f"{facts.resource_type}/{facts.id}"
    return itself or (meaning in ("dependents", "related") and reference in facts.references)


def names_denied(rules: Iterable[ConsentRule], around: Circumstances) -> frozenset[str]:
    """What provisions that deny name, as `Type/id`. It may say more: conditions on the data itself aren't asked."""
    return frozenset(name for rule in rules for name in _names_denied(rule.root, around))


def _names_denied(provision: Provision, around: Circumstances) -> Iterator[str]:
    if not (provision.period.holds(around.now) and _means_asker(provision, around)):
        return
    if not provision.permit:
        yield from (reference for meaning, reference in provision.data if meaning in _THE_THING_ITSELF)
    for nested in provision.provisions:
        yield from _names_denied(nested, around)


def _decide(provision: Provision, question: _Question) -> tuple[bool, str] | None:
    """The polarity that this provision gives the resource and where, or None when it doesn't match."""
    if provision.not_understood:
        return False, provision.path
    if not _holds_for_all_below(provision, question):
        return None
    found = _by_itself_and_below(provision, question)
    return None if found is not None and found[0] and not _permits_action(provision, question.around) else found


def _by_itself_and_below(provision: Provision, question: _Question) -> tuple[bool, str] | None:
    """The answer of a provision whose conditions hold, with its exceptions."""
    labels = _labels_match(provision, question)
    purpose = _purpose_covers(provision, question.around)
    permitted: tuple[bool, str] | None = None
    denied: tuple[bool, str] | None = None
    for nested in provision.provisions:
        if _is_about_other_data(nested, question):
            continue
        found = _decide(nested, question)
        if found is None:
            continue
        here = labels and purpose
        speaks = here or _reaches_beyond(nested, provision, question, labels, purpose)
        if not found[0]:
            if speaks:
                return found
            denied = denied or found
        elif here or (speaks and nested.permit):  # what a deny excepts is no more than the permit around it
            permitted = permitted or found
    if permitted is not None:
        return denied or permitted  # what is permitted beyond its parent stays under every exception beside it
    return (bool(provision.permit), provision.path) if labels and purpose else None


def _is_about_other_data(provision: Provision, question: _Question) -> bool:
    """Whether its classes alone say that a provision doesn't match, as those of most exceptions do: asked first."""
    return bool(
        provision.classes
        and not provision.not_understood
        and not _classes_match(provision.classes, question, permit=bool(provision.permit))
    )


def _reaches_beyond(nested: Provision, parent: Provision, question: _Question, labels: bool, purpose: bool) -> bool:
    """Whether an exception speaks though its parent's labels or purposes don't match.

    IHE PCF: under a permit of normal data stands a permit of restricted data, or one for break-glass. So an exception
    that names labels isn't bound by those of its parent, and one that names BTG isn't bound by its parent's purposes.
    INVARIANT: never a permit under a deny, which must stay within what is denied.
    """
    if nested.not_understood:
        return True
    if nested.permit and not parent.permit:
        return False
    return (labels or bool(nested.labels)) and (
        purpose or (question.around.purpose == BREAK_GLASS and BREAK_GLASS_CODING in nested.purposes)
    )


def _holds_for_all_below(provision: Provision, question: _Question) -> bool:
    """The conditions that bind a provision and all its exceptions: all must match (AND), each by any value (OR)."""
    around, facts, _ = question
    permit = bool(provision.permit)
    return (
        (not provision.classes or _classes_match(provision.classes, question, permit=permit))
        and provision.period.holds(around.now)
        and _means_asker(provision, around)
        and _speaks_of_action(provision, around)
        and (not provision.document_types or _classes_match(provision.document_types, question, permit=permit))
        and (not provision.codes or _codes_match(provision.codes, facts, permit=permit))
        and (provision.data_period is None or _dates_match(provision.data_period, facts, permit=permit))
        and (not provision.data or any(_data_matches(m, r, question, permit=permit) for m, r in provision.data))
    )


def _speaks_of_action(provision: Provision, around: Circumstances) -> bool:
    """Whether what a provision says is about the action; one without actions is about all."""
    if not around.writes:
        return not provision.actions or not READ_ACTIONS.isdisjoint(provision.actions)
    # A permit of something else is heard all the same: what it excepts from itself may be this.
    return bool(provision.permit) or not provision.actions or around.writes in provision.actions


def _permits_action(provision: Provision, around: Circumstances) -> bool:
    """INVARIANT: who spoke of sharing hasn't allowed a change: a permit to write names the action, at every level."""
    return not around.writes or not provision.permit or around.writes in provision.actions


def _means_asker(provision: Provision, around: Circumstances) -> bool:
    if not provision.actors or not around.grantees.isdisjoint(provision.actors):
        return True
    if provision.permit:
        clinicians = {name for name in around.users if kind_of(name) in CLINICIANS}
        return means(provision.actors, around.grantees | clinicians, around.memberships, permit=True)
    return means(provision.actors, around.grantees | around.users, around.memberships, permit=False)


def _purpose_covers(provision: Provision, around: Circumstances) -> bool:
    if not provision.purposes:
        return True
    return not covering(around.purpose, permit=bool(provision.permit)).isdisjoint(provision.purposes)


def _names_break_glass(root: Provision, around: Circumstances) -> bool:
    return around.purpose == BREAK_GLASS and any(BREAK_GLASS_CODING in nested.purposes for nested in root.provisions)


def _labels_match(provision: Provision, question: _Question) -> bool:
    """A permit goes by the labels that the data itself carries, a deny also by those that its codes imply."""
    if not provision.labels:
        return True
    if provision.permit:
        return permit_reaches(provision.labels, question.facts.labels)
    return deny_reaches(provision.labels, question.facts.labels | question.kind.labels)


def _classes_match(wanted: Iterable[Coding], question: _Question, *, permit: bool) -> bool:
    around, facts, kind = question
    for system, code in wanted:
        if system == DATA_CATEGORY_SYSTEM:
            # INVARIANT: of data in several categories, one beyond the bound permits nothing.
            if (code in kind.everyday or code in kind.sensitive) and (not permit or _is_within(code, around, kind)):
                return True
            if not permit and around.categories and code not in around.categories:
                return True
        elif system == RESOURCE_TYPES_SYSTEM:
            if code == facts.resource_type or code in _ANY_TYPE:
                return True
        elif facts.profiles and _is_profile(code, facts.profiles, permit=permit):
            return True
    return False


def _is_within(code: str, around: Circumstances, kind: Classification) -> bool:
    """Whether the bound holds a category that a permit names, the whole of it, or a part of it in which the data is."""
    bound = around.within
    if bound is None or code in bound or around.wholes.get(code) in bound:
        return True
    return any(around.wholes.get(part) == code for part in kind.everyday & bound)


def _is_profile(wanted: str, profiles: Iterable[str], *, permit: bool) -> bool:
    """A canonical without version means every version; a deny of one version means all, since few resources say."""
    url, bar, _ = wanted.partition("|")
    if bar and permit:
        return wanted in profiles
    return any(profile.partition("|")[0] == url for profile in profiles)


def _codes_match(wanted: Iterable[Coding], facts: ResourceFacts, *, permit: bool) -> bool:
    """System and code both; a deny also reaches a code whose system the data doesn't give."""
    if not facts.codes.isdisjoint(wanted):
        return True
    return not permit and any(Coding("", code) in facts.codes for _, code in wanted)


def _dates_match(wanted: Period, facts: ResourceFacts, *, permit: bool) -> bool:
    """A permit needs the datum wholly inside, a deny any overlap; without a date, permit no, deny yes."""
    if facts.period is None:
        return not permit
    low, high = facts.period
    if permit:
        return wanted.holds(low) and wanted.holds(high)
    return (wanted.end is None or low <= wanted.end) and (wanted.start is None or high >= wanted.start)


def _data_matches(meaning: str, reference: str, question: _Question, *, permit: bool) -> bool:
    around, facts, _ = question
    itself = f"{facts.resource_type}/{facts.id}"
    if meaning == "instance":
        return itself == reference
    if meaning == "dependents":
        return itself == reference or reference in facts.references
    if meaning == "authoredby":
        if not permit and (not facts.authors or "" in facts.authors):
            return True  # one who can't be told may be the one who is named; a Provenance elsewhere may name one
        return means((reference,), facts.authors, around.authorships, permit=permit)
    if meaning == "related":
        if itself == reference or reference in facts.references:
            return True
        held = None if around.links is None else around.links.get(reference)
        return not permit if held is None else itself in held
    return not permit
