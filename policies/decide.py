"""The decision: effective = scopes ∩ consents ∩ catalogue. Deny by default, with the reasons.

`plan_read` decides a request once; `decide_resource` decides every resource that the upstream answers, on its own
content. Masks come after: docs/architecture.md, "A request, end to end".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policies.catalogue import Catalogue, Category
from policies.classify import Classification, classify
from policies.codes import DATA_CATEGORY_SYSTEM
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.consent_rule import ConsentRule, Provision
from policies.model import READ_INTERACTIONS, Access, Coding, Decision, Deny, Permit, Reason, ResourceFacts, Scope
from policies.scope_match import covers, names_type

CLIENT_SYSTEM = "urn:assent:client"
"""Identifier system under which an app is named as a grantee."""


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What one request may see, before any resource is looked at."""

    patient: str
    purpose: str
    permission: str
    """The SMART permission letter that the interaction needs: `r` or `s`."""
    scopes: tuple[Scope, ...]
    """All of the token's scopes that can open anything, whatever the type: included resources need theirs too."""
    consents: tuple[ConsentRule, ...]
    circumstances: Circumstances


def grantee_of(client_id: str) -> str:
    """The name under which consents know an app."""
    return f"{CLIENT_SYSTEM}|{client_id}"


def circumstances_of(access: Access, catalogue: Catalogue, now: datetime) -> Circumstances:
    """What consents are told about a token: its app, its person, its purpose."""
    return Circumstances(
        access.patient or "",
        frozenset({grantee_of(access.client_id)}),
        access.purpose,
        now,
        users=frozenset() if access.user is None else frozenset({access.user}),
        categories=frozenset(catalogue.categories),
    )


def plan_read(
    access: Access,
    interaction: str,
    resource_type: str,
    consents: Iterable[ConsentRule],
    catalogue: Catalogue,
    now: datetime,
) -> ReadPlan | Deny:
    """Decide whether the request may go to the upstream at all."""
    if interaction not in READ_INTERACTIONS:
        return _deny("default", f"the interaction `{interaction}` is not supported")
    if access.patient is None:
        return _deny("token", "the token has no patient in context, so patient data stays closed")
    if access.purpose not in catalogue.purposes:
        return _deny("token", f"the purpose of use `{access.purpose}` is not in the catalogue")
    permission = "s" if interaction == "search-type" else "r"
    scopes = open_scopes_of(access)
    if not any(names_type(s, resource_type) and permission in s.permissions for s in scopes):
        return _deny("scope", f"no scope of the token allows `{permission}` on `{resource_type}`")
    if catalogue.mask(access.purpose, resource_type) is None or resource_type not in catalogue.scopes_by_type:
        return _deny("category", f"`{resource_type}` belongs to no category that can be shared for this purpose")
    around = circumstances_of(access, catalogue, now)
    found = applicable(consents, around)
    if not found:
        return _deny("consent", "no consent of the patient for this app and purpose is in force")
    return ReadPlan(access.patient, access.purpose, permission, scopes, found, around)


def open_scopes_of(access: Access) -> tuple[Scope, ...]:
    """The token's scopes that can open a patient's data: `patient/` ones, and `user/` ones within the patient."""
    return tuple(s for s in access.scopes if s.context in ("patient", "user"))


def decide_resource(
    plan: ReadPlan, facts: ResourceFacts, catalogue: Catalogue, kind: Classification | None = None
) -> Decision:
    """Decide one resource on its own content. `kind`: what `classify` says of the facts, where it is known already."""
    if kind is None:
        kind = classify(facts, catalogue)
    if not kind.everyday:
        return _deny("category", "the resource belongs to no category that can be shared")
    if kind.everyday <= catalogue.always:
        if facts.owners or facts.foreign:
            return _deny("compartment", "a resource that should be about no patient names one")
    elif facts.foreign or facts.owners != {plan.patient}:
        return _deny("compartment", "the resource is not about the patient in context alone")
    scope = next((s for s in plan.scopes if plan.permission in s.permissions and covers(s, facts)), None)
    if scope is None:
        return _deny("scope", "no scope of the token covers the resource")
    if kind.everyday <= catalogue.always and not kind.sensitive:
        return Permit((Reason("category", "the resource is about no patient", _source(kind)),))
    return _by_consents(plan, facts, kind)


def _by_consents(plan: ReadPlan, facts: ResourceFacts, kind: Classification) -> Decision:
    decision = consent_decision(plan.consents, plan.circumstances, facts, kind)
    if isinstance(decision, Deny) and kind.sensitive:
        why = Reason("sensitivity", f"the resource is sensitive: {', '.join(sorted(kind.sensitive))}", _source(kind))
        return Deny((*decision.reasons, why))
    return decision


def open_categories(
    consents: Sequence[ConsentRule], around: Circumstances, catalogue: Catalogue
) -> tuple[Category, ...]:
    """Categories of which the consents open at least something: for the token's scope and for narrowing queries.

    It may say more than is open (conditions on single resources aren't asked here), never less. Every resource is
    decided again by itself, so saying more is safe.
    """
    rules = [_without_details(rule) for rule in applicable(consents, around)]
    return tuple(c for c in catalogue.categories.values() if c.always or _opens(rules, around, c))


def _opens(rules: Sequence[ConsentRule], around: Circumstances, category: Category) -> bool:
    if category.sensitive:
        kind = Classification(frozenset(), frozenset({category.code}), category.labels)
        # A sensitive category opens nothing by itself: it is open when nothing denies it.
        denies = [r for r in rules if _denies(r.root, Coding(DATA_CATEGORY_SYSTEM, category.code), category.labels)]
        return bool(rules) and not denies and bool(kind.sensitive)
    for scope in category.scopes:
        kind = Classification(frozenset({category.code}), frozenset(), frozenset())
        facts = ResourceFacts(scope.resource_type, "")
        if isinstance(consent_decision(rules, around, facts, kind), Permit):
            return True
    return False


def _denies(provision: Provision, category: Coding, labels: frozenset[Coding]) -> bool:
    mine = provision.permit is not True and (category in provision.classes or not labels.isdisjoint(provision.labels))
    return mine or any(_denies(nested, category, labels) for nested in provision.provisions)


def _without_details(rule: ConsentRule) -> ConsentRule:
    return replace(rule, root=_probe(rule.root))


def _probe(provision: Provision) -> Provision:
    """The provision with its conditions on single resources taken away: a permit then matches all, a deny nothing."""
    if provision.not_understood:
        return provision
    if not provision.permit and _is_detailed(provision):
        return Provision(provision.path, False, classes=(Coding(DATA_CATEGORY_SYSTEM, ""),))
    nested = (n for n in provision.provisions if n.permit or n.not_understood or not _is_detailed(n))
    return replace(
        provision,
        labels=() if provision.permit else provision.labels,
        document_types=(),
        codes=(),
        data_period=None,
        data=(),
        provisions=tuple(map(_probe, nested)),
    )


def _is_detailed(provision: Provision) -> bool:
    return bool(provision.codes or provision.data or provision.document_types or provision.data_period is not None)


def _deny(rule: str, text: str) -> Deny:
    return Deny((Reason(rule, text),))  # type: ignore[arg-type]  # literal at every call site, checked by the tests


def _source(kind: Classification) -> str:
    return ",".join(f"category/{code}" for code in sorted(kind.everyday | kind.sensitive))
