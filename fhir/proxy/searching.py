"""Searches of one type (FHIR R4 §3.1.1): steps 4 to 6, from the app's parameters to its page."""

from __future__ import annotations

from fhir.proxy.access_records import Seen
from fhir.proxy.include_sources import check_includes, only, together_with
from fhir.proxy.narrowing import upstream_search
from fhir.proxy.page_links import PageLinks
from fhir.proxy.parts import Answered, Asked, ProxyParts, guarded_search
from fhir.proxy.searchset import Page, fill_page, searchset


async def answer_search(parts: ProxyParts, asked: Asked) -> Answered:
    """One page of what may be seen. Raises SearchRefused and SearchError, and what the source raises."""
    kind = asked.interaction.resource_type
    links = PageLinks(parts, asked, kind)
    search = guarded_search(parts, kind, links.query, asked.plan)
    together = together_with(parts, kind)
    check_includes(parts, search, together)
    plan = await parts.plans.for_search(asked.plan, search, asked.now)
    if links.payload is None:
        first, position = upstream_search(search, plan, parts.catalogue, parts.definitions), 0
    else:
        first, position = links.payload.upstream_url, links.payload.position
    show = only(together, parts.views.under(plan, {kind: search.elements}, search.includes))
    page, fetch = Page(), parts.page_of(kind)
    if plan.shares:
        page = await fill_page(
            kind,
            search.count,
            first,
            position,
            fetch,
            show,
            including=bool(search.includes),
            asks_first=links.payload is None,
        )
    total = links.total(page, counted=plan.patient is not None)  # a service gets none
    body = searchset(page, parts.base, links.of(page, kind), total)
    return Answered(body, Seen(plan, (*page.matches, *page.includes)))
