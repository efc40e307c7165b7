"""read and vread (FHIR R4 §3.1.0.1, §3.1.0.2): steps 4 to 6 for one resource."""

from __future__ import annotations

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.access_records import Seen
from fhir.proxy.binary import answer_binary
from fhir.proxy.origins import NO_ORIGINS, PROVENANCE
from fhir.proxy.parts import Answered, Asked, NothingOpened, ProxyParts, guarded_search
from fhir.proxy.request import ProxyRefusal


async def answer_read(parts: ProxyParts, asked: Asked) -> Answered:
    """The resource or the version of it that may be seen. Raises NothingOpened."""
    if asked.interaction.resource_type == "Binary":
        return await answer_binary(parts, asked)
    elements = _elements(parts, asked)
    found = await seen(parts, asked, asked.interaction.version, elements)
    if found is not None and asked.interaction.version and await seen(parts, asked, "", elements) is None:
        found = None  # withheld or deleted by now: no older version tells of it (docs/leaks.md L40)
    if found is None:
        raise NothingOpened
    return Answered(found.shown[0].body, found)


async def seen(parts: ProxyParts, asked: Asked, version: str, elements: frozenset[str] | None = None) -> Seen | None:
    """What may be seen of one resource; None when that is nothing, or when the source gave another one.

    `version` empty: the current one.
    """
    kind, plan = asked.interaction.resource_type, asked.plan
    body = await parts.read(kind, asked.interaction.id, version, plan.patient)
    if body is None:
        return None
    origins = await parts.origins.of([body]) if kind == PROVENANCE else NO_ORIGINS
    try:
        if plan.patient is None:
            plan = await parts.plans.for_resource(plan, parts.views.facts(body, origins), parts.clock())
        shown = parts.views.under(plan, {kind: elements}, origins=origins)(body)
    except NotMinimizable:
        return None
    return Seen(plan, (shown,)) if shown is not None and shown.name == asked.name else None


def _elements(parts: ProxyParts, asked: Asked) -> frozenset[str] | None:
    """`_elements`, `_summary` and `_format` are all that a read may carry."""
    if not asked.request.parameters:
        return None
    if any(name not in ("_elements", "_summary", "_format") for name, _ in asked.request.parameters):
        raise ProxyRefusal(400, "not-supported", "a read takes `_elements`, `_summary` and `_format` only")
    return guarded_search(parts, asked.interaction.resource_type, asked.request.parameters, asked.plan).elements
