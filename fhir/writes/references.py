"""Where a written resource newly points: only to what the writer could read, so that writing doesn't tell what is.

Upstreams may refuse a reference that leads nowhere; an app could ask for any id that way (docs/leaks.md L45). That
holds for providers, places and products too: one of them may be withheld, and its id is as good a question as any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhir.proxy.parts import Asked, ProxyParts
from fhir.proxy.reading import seen
from fhir.proxy.request import ProxyRefusal
from fhir.r4.interaction import Interaction
from policies.decide import ReadPlan

MAX_NEW: Final = 20
"""References that one write may add."""


async def check_new_references(parts: ProxyParts, asked: Asked, references: frozenset[str]) -> None:
    """`references` as in `ResourceFacts`. Raises ProxyRefusal for one that leads to nothing which the writer reads."""
    if len(references) > MAX_NEW:
        raise ProxyRefusal(422, "too-costly", f"a write may add at most {MAX_NEW} references")
    for reference in sorted(references):
        if not await _leads_somewhere(parts, asked, reference):
            raise ProxyRefusal(422, "not-found", "a reference leads to nothing that this token opens")


async def _leads_somewhere(parts: ProxyParts, asked: Asked, reference: str) -> bool:
    target = parts.views.relative(reference)
    if target is None:
        return False
    kind, _, wanted = target.partition("/")
    if (kind, wanted) == ("Patient", asked.access.patient):
        return True
    if kind not in parts.definitions.types or kind == "Binary" or not parts.serves(kind):
        return False
    interaction = Interaction("read", kind, wanted)
    plan = await parts.plans.begin(asked.access, interaction, asked.now)
    if not isinstance(plan, ReadPlan):
        return False
    return await seen(parts, replace(asked, plan=plan, interaction=interaction), "") is not None
