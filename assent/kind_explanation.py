"""Why a kind of information is or isn't open to an app: the proxy's rules, asked about what is typical of the kind.

No resource is read. What is asked about is a resource that has what the catalogue says of the category and nothing
besides. Consents can tell apart what is in one category, by codes, dates, labels or names of resources: the answer then
says that single resources may be decided otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from assent.explanation import Explanation, Rules, explain_search
from fhir.minimization.mask_plan import MaskNode
from fhir.r4.definitions import json_members
from fhir.r4.interaction import Interaction
from policies.catalogue import Category
from policies.classify import Classification, own_labels
from policies.codes import DATA_CATEGORY_SYSTEM, RESOURCE_TYPES_SYSTEM
from policies.consent_rule import Provision
from policies.decide import ReadPlan, decide_resource
from policies.model import Coding, Deny, Permit, Reason, ResourceFacts, Scope
from policies.scope_match import covers
from smart.scope_syntax import format_scope

_NOT_IN_PART: Final = Reason("mask", "a resource of which parts are withheld isn't deleted")


@dataclass(frozen=True, slots=True)
class KindExplanation:
    """What is said of a category."""

    explanation: Explanation
    kept: tuple[str, ...] = ()
    """Codes of the sensitive categories that stay closed within it."""
    detailed: bool = False
    """The consents have rules that look closer than at the kind, or open a part of it."""


def explain_kind(
    rules: Rules, plan: ReadPlan, so_far: Explanation, interaction: Interaction, category: Category
) -> KindExplanation:
    """About what is in the category and of the interaction's type. `plan` has the share of one patient."""
    asked = list(_typical(rules, plan, interaction.resource_type, category))
    found = [_decided(rules, plan, so_far, interaction, *one) for one in asked]
    if not found:
        text = f"`{interaction.resource_type}` belongs to no category that can be shared for this purpose"
        return KindExplanation(replace(so_far, decision="deny", reasons=(*so_far.reasons, Reason("category", text))))
    place = next((n for n, one in enumerate(found) if one.decision == "permit"), 0)
    best = _with_mask(rules, plan, found[place], interaction.resource_type)
    if interaction.code == "delete" and best.decision == "permit" and (best.removed or best.masked):
        best = replace(best, reasons=(*best.reasons, _NOT_IN_PART))
    closed = () if category.sensitive or best.decision == "deny" else _kept(rules, plan, *asked[place][:2])
    detailed = any(_looks_closer(rule.root) for share in plan.shares.values() for rule in share.consents)
    in_part = bool(rules.catalogue.parts_of(category.code)) and len({one.decision for one in found}) > 1
    return KindExplanation(best, closed, detailed or in_part)


def _typical(
    rules: Rules, plan: ReadPlan, kind: str, category: Category
) -> Iterator[tuple[ResourceFacts, Classification, Scope]]:
    """A resource as each line of the catalogue tells it; parts stand for their whole too.

    A sensitive category cuts across all of the type's.
    """
    for own, scope in rules.catalogue.scopes_by_type.get(kind, ()):
        if own.always or not (category.sensitive or category.code in (own.code, own.part_of)):
            continue
        tokens = {name: frozenset({_coding(value)}) for name, value in scope.parameters}
        facts = ResourceFacts(kind, "", owners=frozenset(plan.shares), tokens=tokens)
        sensitive = frozenset({category.code}) if category.sensitive else frozenset[str]()
        labels = own_labels(rules.catalogue, category) if category.sensitive else frozenset[Coding]()
        yield facts, Classification(frozenset({own.code, own.part_of} - {""}), sensitive, labels), scope


def _coding(value: str) -> Coding:
    system, _, code = value.partition(",")[0].rpartition("|")
    return Coding(system, code)


def _decided(
    rules: Rules,
    plan: ReadPlan,
    so_far: Explanation,
    interaction: Interaction,
    facts: ResourceFacts,
    kind: Classification,
    scope: Scope,
) -> Explanation:
    if interaction.is_search:
        so_far = explain_search(rules, plan, so_far, facts.resource_type, scope.parameters)
        if so_far.decision == "deny":
            return so_far
    decision = decide_resource(plan, facts, rules.catalogue, kind)
    mine = next((s for s in plan.scopes if plan.permission in s.permissions and covers(s, facts)), None)
    covered = () if mine is None else (Reason("scope", "the scope covers the resource", format_scope(mine)),)
    told = (
        *(Reason("category", f"the resource is in `{code}`", f"category/{code}") for code in sorted(kind.everyday)),
        *(Reason("sensitivity", f"the resource is `{code}`", f"category/{code}") for code in sorted(kind.sensitive)),
    )
    reasons = (*so_far.reasons, *(r for r in covered if r not in so_far.reasons), *told, *decision.reasons)
    return replace(so_far, decision="permit" if isinstance(decision, Permit) else "deny", reasons=reasons)


def _kept(rules: Rules, plan: ReadPlan, facts: ResourceFacts, kind: Classification) -> tuple[str, ...]:
    """Sensitive categories that a resource of this kind must not be in as well."""

    def closed(category: Category) -> bool:
        both = Classification(kind.everyday, frozenset({category.code}), own_labels(rules.catalogue, category))
        return isinstance(decide_resource(plan, facts, rules.catalogue, both), Deny)

    return tuple(category.code for category in rules.catalogue.sensitive if closed(category))


def _with_mask(rules: Rules, plan: ReadPlan, found: Explanation, kind: str) -> Explanation:
    if found.decision == "deny":
        return found
    node = rules.masks.node(plan.purpose, kind)
    if node is None:
        reason = Reason("mask", f"no mask for `{kind}` and this purpose")
        return replace(found, decision="deny", reasons=(*found.reasons, reason))
    removed, masked = _hidden(rules, kind, node, rules.catalogue.mask(plan.purpose, kind) or frozenset())
    text = f"{len(removed)} top-level elements are removed, {len(masked)} are masked"
    reason = Reason("mask", text, f"masks/{rules.catalogue.purposes[plan.purpose].mask}/{kind}")
    return replace(found, reasons=(*found.reasons, reason), removed=removed, masked=masked)


def _hidden(
    rules: Rules, kind: str, node: MaskNode, allowed: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Top-level elements that never come through, and those of which a part does or for which `masked` stands."""
    in_part = {path.partition(".")[0] for path in allowed if "." in path} - allowed
    removed: list[str] = []
    masked: list[str] = []
    for name, element in rules.definitions.children(kind, "").items():
        members = [member for member, _ in json_members(name, element)]
        replaced = any(m in node.replacements or f"_{m}" in node.replacements for m in members)
        if replaced or name in in_part:
            masked.append(name)
        elif not any(member in node.members for member in members):
            removed.append(name)
    return tuple(sorted(removed)), tuple(sorted(masked))


def _looks_closer(provision: Provision) -> bool:
    """Whether a provision, or one in it, tells apart what is of one category and type."""
    known = (DATA_CATEGORY_SYSTEM, RESOURCE_TYPES_SYSTEM)
    by_content: Sequence[object] = (provision.labels, provision.document_types, provision.codes, provision.data)
    by_profile = any(coding.system not in known for coding in provision.classes)
    return (
        any(by_content)
        or provision.data_period is not None
        or by_profile
        or any(_looks_closer(nested) for nested in provision.provisions)
    )
