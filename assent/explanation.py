"""Why a request gets what it gets: the proxy's decision again, with every step's reason and where its rule stands.

Pure: it asks the rules that the proxy asks (docs/architecture.md, "A request, end to end") about an access, the
patient's consents and a resource that are handed in. INVARIANT: it names elements, categories and rules, never data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

import msgspec

from assent.explained_resource import Found
from fhir.export.request import exportable, plan_export
from fhir.minimization.facts import FactsReader
from fhir.minimization.mask_plan import MaskNode
from fhir.minimization.masks import Masks
from fhir.minimization.minimize import MinimizeRules, NotMinimizable, minimize
from fhir.proxy.narrowing import category_bound, named_patients, upstream_search
from fhir.proxy.origins import PROVENANCE
from fhir.proxy.search_guarding import guard_search
from fhir.proxy.search_request import SearchRefused
from fhir.r4.definitions import Definitions, json_members
from fhir.r4.interaction import NO_EXPORT, Interaction, is_written
from fhir.r4.strict_json import decode_once
from fhir.search.literals import SearchError
from policies.catalogue import Catalogue
from policies.classify import classify
from policies.consent_evaluation import Circumstances, applicable
from policies.consent_rule import ConsentRule
from policies.decide import NOT_SHARED, ReadPlan, circumstances_of, decide_resource, plan_read, share_of, speaking
from policies.memberships import Knowledge
from policies.model import Access, Deny, Permit, Reason, ResourceFacts
from policies.scope_match import covers, names_type
from smart.scope_syntax import format_scope

UNKNOWN_ELEMENT: Final = "(an element that R4 doesn't have)"
_MOST_OTHERS: Final = 20
"""Consents about something else that are named, so that the chain stays readable."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and the chain of its reasons, in the order in which the rules were asked."""

    interaction: str
    decision: Literal["permit", "deny"]
    reasons: tuple[Reason, ...]
    removed: tuple[str, ...] = ()
    """Top-level elements that the mask takes away."""
    masked: tuple[str, ...] = ()
    """Top-level elements of which something is taken away inside, or for which `masked` stands."""
    upstream: str | None = None
    """What the upstream would be asked, for a search that is permitted."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that decides, apart from tokens and consents."""

    catalogue: Catalogue
    definitions: Definitions
    masks: Masks
    facts: FactsReader
    base: str
    """Public FHIR base."""
    writes: bool = False
    """Whether apps may write."""


def explain_plan(
    rules: Rules,
    access: Access,
    interaction: Interaction,
    patient: str | None,
    consents: Sequence[ConsentRule],
    now: datetime,
    knowledge: Knowledge,
) -> tuple[ReadPlan | None, Explanation]:
    """Whether the request may show anything of the patient in context or, for a service, of the one asked about.

    The plan is None when it may not.
    """
    kind = interaction.resource_type
    name = name_of(interaction)
    token = Reason("token", f"app `{access.client_id}`, patient `{patient}`, purpose `{access.purpose}`")
    plan = plan_of(rules, access, interaction)
    speak = tuple(speaking(consents, access, patient or "", rules.catalogue))
    around = circumstances_of(access, patient or "", rules.catalogue, now, knowledge=knowledge)
    asked = _consents_asked(access, around, speak)
    if isinstance(plan, Deny):
        return None, Explanation(name, "deny", (token, *asked, *plan.reasons))
    share = share_of(plan, patient or "", consents, rules.catalogue, now, knowledge)
    if share is None:
        return None, Explanation(name, "deny", (token, *asked, *NOT_SHARED.reasons))
    plan = plan.sharing({share.circumstances.patient: share})
    if kind not in rules.definitions.types:
        return None, Explanation(name, "deny", (token, Reason("default", f"R4 has no resource type `{kind}`")))
    return plan, Explanation(name, "permit", (token, *asked))


def plan_of(rules: Rules, access: Access, interaction: Interaction) -> ReadPlan | Deny:
    """What the token alone lets the interaction do, where this server has it at all."""
    kind = interaction.resource_type
    if interaction.code == "export":
        if not access.is_service:
            return Deny((Reason("token", NO_EXPORT),))
        if kind not in exportable(rules.catalogue):
            return Deny((Reason("category", f"`{kind}` is in no export"),))
        return plan_export(access, kind, rules.catalogue)
    if interaction.is_write:
        if not rules.writes:
            return Deny((Reason("default", "this server is read-only for apps"),))
        if not is_written(interaction):
            return Deny((Reason("default", f"apps don't {interaction.code} `{kind}`"),))
        reading = plan_read(access, "read", kind, rules.catalogue)
        if interaction.code != "create" and isinstance(reading, Deny):
            return reading  # what is there is changed or deleted by who sees it
    return plan_read(access, interaction.code, kind, rules.catalogue)


_OPERATIONS: Final = {"operation": "$everything", "export": "$export"}


def name_of(interaction: Interaction) -> str:
    """The interaction as a line: `read Condition/c1`."""
    code = _OPERATIONS.get(interaction.code, interaction.code)
    return f"{code} {interaction.resource_type}" + (f"/{interaction.id}" if interaction.id else "")


def _consents_asked(access: Access, around: Circumstances, consents: Sequence[ConsentRule]) -> tuple[Reason, ...]:
    asked = applicable(consents, around)
    others = [rule for rule in consents if rule not in asked]
    found = [Reason(rule.kind, _in_force(access, rule), rule.reference) for rule in asked]
    found += [
        Reason("consent", "for another app, purpose or time: not asked", rule.reference)
        for rule in others[:_MOST_OTHERS]
    ]
    if len(others) > _MOST_OTHERS:
        found.append(Reason("consent", f"and `{len(others) - _MOST_OTHERS}` more that aren't asked"))
    return tuple(found)


def _in_force(access: Access, rule: ConsentRule) -> str:
    if rule.kind == "emergency":
        return "opened in an emergency: the operator's rule beside the patient's consents"
    if access.is_service and not rule.root.actors:
        return "in force, names no app: a service is denied by it but not permitted"
    return "in force for this app and purpose"


def explain_read(rules: Rules, plan: ReadPlan, so_far: Explanation, wanted: str, found: Found) -> Explanation:
    """The decision about one resource (`wanted` is its `Type/id`), and what its mask would take away."""
    body = found.body
    if body is None:
        return denied(so_far, Reason("default", "the server that holds the data has no such resource"))
    try:
        facts = rules.facts.read(decode_once(body))
        name = f"{facts.resource_type}/{facts.id}"
        if name != wanted:
            return denied(so_far, Reason("default", "the answer is another resource than the one asked for"))
        told = with_what_it_refers_to(rules, plan, facts, found)
        if isinstance(told, Reason):
            return denied(so_far, told)
        facts = told
        if plan.patient is None and facts.owners and facts.owners != plan.shares.keys():
            return denied(so_far, Reason("compartment", "the resource is not about the patient asked about alone"))
        decision = decide_resource(plan, facts, rules.catalogue)
        reasons = (*_scope_reasons(plan, facts), *_kind_reasons(rules, facts), *decision.reasons)
        if not isinstance(decision, Permit):
            return denied(so_far, *reasons)
        node = rules.masks.node(plan.purpose, facts.resource_type)
        if node is None:
            return denied(so_far, *reasons, Reason("mask", f"no mask for `{facts.resource_type}` and this purpose"))
        removed, masked = _mask_effect(rules, plan, facts.resource_type, node, body)
    except (msgspec.DecodeError, RecursionError, NotMinimizable):
        return denied(so_far, Reason("mask", "the content is not shaped as FHIR JSON"))
    mask = Reason(
        "mask",
        f"{len(removed)} top-level elements are removed, {len(masked)} are masked",
        f"masks/{rules.catalogue.purposes[plan.purpose].mask}/{facts.resource_type}",
    )
    return replace(so_far, reasons=(*so_far.reasons, *reasons, mask), removed=removed, masked=masked)


def with_what_it_refers_to(rules: Rules, plan: ReadPlan, facts: ResourceFacts, found: Found) -> ResourceFacts | Reason:
    """The facts, with those of what decides beside them; a reason where that alone denies."""
    if facts.resource_type == PROVENANCE:
        origin = found.origins.get(found.body or b"")
        if origin is None:
            return Reason("compartment", "what the Provenance targets can't all be found")
        targets = (rules.facts.read(decode_once(target)) for target in origin.targets)
        if not all(isinstance(decide_resource(plan, one, rules.catalogue), Permit) for one in targets):
            return Reason("compartment", "the Provenance targets something that isn't shown")
        return origin.about(facts)
    if found.medications is not None:
        told = found.medications.with_medicines(facts)
        return told or Reason("sensitivity", "a Medication or Substance that it refers to can't be told")
    return facts


def denied(so_far: Explanation, *reasons: Reason) -> Explanation:
    """What it comes to with a last reason that denies."""
    return replace(so_far, decision="deny", reasons=(*so_far.reasons, *reasons))


def _scope_reasons(plan: ReadPlan, facts: ResourceFacts) -> tuple[Reason, ...]:
    scope = next((s for s in plan.scopes if plan.permission in s.permissions and covers(s, facts)), None)
    return () if scope is None else (Reason("scope", "the scope covers the resource", format_scope(scope)),)


def _kind_reasons(rules: Rules, facts: ResourceFacts) -> tuple[Reason, ...]:
    kind = classify(facts, rules.catalogue)
    return (
        *(Reason("category", f"the resource is in `{code}`", f"category/{code}") for code in sorted(kind.everyday)),
        *(Reason("sensitivity", f"the resource is `{c}`", f"category/{c}") for c in sorted(kind.sensitive)),
    )


def _mask_effect(
    rules: Rules, plan: ReadPlan, resource_type: str, node: MaskNode, body: bytes
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names only: what `minimize` takes away is read off its result. `meta` always changes, so it isn't told."""
    minimizing = MinimizeRules(
        lambda kind: rules.masks.node(plan.purpose, kind),
        rules.catalogue.contained,
        rules.catalogue.named_references,
        rules.facts.relative,
    )
    before, after = _members(body), _members(minimize(body, node, minimizing))
    known = _known_members(rules.definitions, resource_type)
    gone = {name if name in known else UNKNOWN_ELEMENT for name in before.keys() - after.keys()}
    stands_for = set(after.keys() & node.replacements.keys())
    changed = {name for name in before.keys() & after.keys() - {"meta"} if bytes(before[name]) != bytes(after[name])}
    masked = stands_for | changed
    # A masked primitive is `_status` where `status` was: one element, not a removed one and a masked one.
    return tuple(sorted(gone - {name.lstrip("_") for name in masked})), tuple(sorted(n.lstrip("_") for n in masked))


def _known_members(definitions: Definitions, resource_type: str) -> frozenset[str]:
    children = definitions.children(resource_type, "")
    names = {member for name, element in children.items() for member, _ in json_members(name, element)}
    return frozenset(names | {"_" + name for name in names} | {"resourceType"})


def explain_search(
    rules: Rules, plan: ReadPlan, so_far: Explanation, kind: str, pairs: Sequence[tuple[str, str]]
) -> Explanation:
    """The guard's decision about the parameters, and the narrower search that the upstream would be asked."""
    try:
        search = guard_search(kind, pairs, plan, rules.masks, rules.definitions, base=rules.base)
    except SearchRefused as refused:
        return denied(so_far, Reason("guard", f"{refused.text} (`{refused.status}`)"))
    except SearchError as refused:
        return denied(so_far, Reason("guard", str(refused)))
    reasons: list[Reason] = []
    if plan.patient is None:
        named = named_patients(search)
        if named is not None and plan.shares.keys().isdisjoint(named):
            return denied(so_far, Reason("guard", "the search names other patients than the one asked about"))
        reasons.append(Reason("default", "a service's search is told for the patient asked about alone"))
    scopes = [s for s in plan.scopes if plan.permission in s.permissions and names_type(s, kind)]
    reasons += [Reason("scope", "the scope names the type", format_scope(scope)) for scope in scopes]
    bound = category_bound(kind, plan, rules.catalogue)
    if bound:
        reasons.append(Reason("category", f"only `category` values of what is open are asked for: {', '.join(bound)}"))
    reasons.append(Reason("guard", "every parameter looks only at what this purpose may see"))
    reasons.append(Reason("default", "each resource found is decided again, on its own content"))
    asked = upstream_search(search, plan, rules.catalogue, rules.definitions)
    return replace(so_far, reasons=(*so_far.reasons, *reasons), upstream=asked)
