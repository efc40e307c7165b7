"""Why an interaction gets what it gets, whichever it is: the same for the command line, `$explain` and the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from assent.explained_resource import Found
from assent.explanation import Explanation, Rules, denied, explain_read, explain_search, with_what_it_refers_to
from assent.kind_explanation import explain_kind
from fhir.proxy.narrowing import opened
from fhir.r4.interaction import Interaction
from fhir.r4.strict_json import decode_once
from policies.decide import ReadPlan, Share, decide_resource
from policies.model import Deny, Reason

Read = Callable[[str, str, str], Awaitable[Found]]
"""Reads a resource by type, id and version (empty: the current one); nothing of one of which nothing is said."""
_EACH_VERSION: Final = Reason("default", "each version is decided again, on its own content")
_IN_PART: Final = Reason("mask", "parts of the resource are withheld from this app, so it can't delete it")
_AS_IT_WAS: Final = Reason("mask", "what is withheld from the app stays as it is")


async def explain_interaction(
    rules: Rules,
    plan: ReadPlan,
    so_far: Explanation,
    interaction: Interaction,
    parameters: Sequence[tuple[str, str]],
    read: Read,
) -> Explanation:
    """The decision about one resource, a search, or a type. Raises what `read` raises."""
    kind = interaction.resource_type
    if interaction.is_search or interaction.code == "export":
        if not opened(plan, kind, rules.catalogue):
            return denied(so_far, Reason("category", f"no category in which a `{kind}` may be is open"))
        return explain_search(rules, plan, so_far, kind, parameters)
    if not interaction.id:
        return _explain_type(rules, plan, so_far, interaction) if interaction.is_write else so_far
    name = f"{kind}/{interaction.id}"
    found = await read(kind, interaction.id, "")
    if interaction.is_write:
        return _explain_write(rules, plan, so_far, interaction, found)
    told = explain_read(rules, plan, so_far, name, found)
    if told.decision == "permit" and interaction.version:  # a version is open while the current one is
        return explain_read(rules, plan, so_far, name, await read(kind, interaction.id, interaction.version))
    if told.decision == "permit" and interaction.code == "history-instance":
        return replace(told, reasons=(*told.reasons, _EACH_VERSION))
    return told


def _explain_write(
    rules: Rules, plan: ReadPlan, so_far: Explanation, interaction: Interaction, found: Found
) -> Explanation:
    """What is there is changed or deleted by who sees it, and who may change it."""
    seen = explain_read(rules, _reading(plan), so_far, f"{interaction.resource_type}/{interaction.id}", found)
    if found.body is None or seen.decision == "deny":
        return seen
    facts = with_what_it_refers_to(rules, plan, rules.facts.read(decode_once(found.body)), found)
    if isinstance(facts, Reason):
        return denied(seen, facts)
    decision = decide_resource(plan, facts, rules.catalogue)
    reasons = tuple(reason for reason in decision.reasons if reason not in seen.reasons)
    if isinstance(decision, Deny):
        return denied(seen, *reasons)
    in_part = bool(seen.removed or seen.masked)
    if in_part and interaction.code == "delete":
        return denied(seen, *reasons, _IN_PART)
    return replace(seen, reasons=(*seen.reasons, *reasons, *((_AS_IT_WAS,) if in_part else ())))


def _reading(plan: ReadPlan) -> ReadPlan:
    shares = {of: Share(s.consents, replace(s.circumstances, writes="")) for of, s in plan.shares.items()}
    return ReadPlan(plan.access, "r", plan.scopes, shares)


def _explain_type(rules: Rules, plan: ReadPlan, so_far: Explanation, interaction: Interaction) -> Explanation:
    """Nobody allows writing by allowing to read, so it is asked of every category in which the type may be."""
    shared = rules.catalogue.scopes_by_type.get(interaction.resource_type, ())
    categories = dict.fromkeys(category for category, _ in shared if not category.always)
    found = [explain_kind(rules, plan, so_far, interaction, category).explanation for category in categories]
    best = next((one for one in found if one.decision == "permit"), None)
    if best is None:
        what = Reason("category", f"apps write nothing of `{interaction.resource_type}`")
        return found[0] if found else denied(so_far, what)
    return replace(best, removed=(), masked=())
