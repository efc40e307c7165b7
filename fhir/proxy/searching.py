"""Searches of one type (FHIR R4 §3.1.1): steps 4 to 6, from the app's parameters to its page."""

from __future__ import annotations

from functools import partial
from typing import Final

from fhir.proxy.access_records import Seen
from fhir.proxy.include_sources import check_includes, only, together_with, unmarked_entries
from fhir.proxy.includes_apart import IncludesApart
from fhir.proxy.narrowing import upstream_search
from fhir.proxy.page import Page
from fhir.proxy.page_links import PageLinks
from fhir.proxy.parts import Answered, Asked, Pages, ProxyParts, guarded_search
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.searchset import fill_page, searchset
from fhir.r4.definitions import is_of_r4
from fhir.upstream.failure import UpstreamFailure
from policies.decide import ReadPlan

_REFUSES: Final = frozenset({400, 422, 501})
"""Statuses of servers that don't know a search parameter (FHIR R4 §3.1.1.1)."""
_BEYOND_R4: Final = "the upstream FHIR server refuses the search; it may not know US Core's parameter {}"


async def answer_search(parts: ProxyParts, asked: Asked) -> Answered:
    """One page of what may be seen. Raises SearchRefused and SearchError, and what the source raises."""
    kind = asked.interaction.resource_type
    links = PageLinks(parts, asked, kind)
    search = guarded_search(parts, kind, links.query, asked.plan)
    together = together_with(parts, kind)
    check_includes(parts, search, together)
    plan = await parts.plans.for_search(asked.plan, search, asked.now)
    question = _question(parts, plan, search)
    first, position, passed = links.begin(question)
    page, pages = Page(), Pages(parts, kind)
    show = only(together, parts.views.under(plan, {kind: search.elements}, search.includes, pages.origins))
    apart = None
    if search.includes:
        get = pages.decided_by(show, unmarked=unmarked_entries(parts, search))
        apart = IncludesApart(search, partial(_question, parts, plan), together, pages.decided_by(show))
    else:
        get = pages.remembered(show, plan, search.elements)
    if plan.shares:
        try:
            page = await fill_page(
                kind, search.count, first, position, get, apart=apart, question=question, passed=passed
            )
        except UpstreamFailure as failure:
            raise _refused(parts, search, failure) or failure from None
    total = links.total(page, counted=plan.patient is not None)  # a service gets none
    body = searchset(page, parts.base, links.of(page, kind), total)
    return Answered(body, Seen(plan, (*page.matches, *page.includes)))


def _question(parts: ProxyParts, plan: ReadPlan, search: SearchRequest) -> str:
    return upstream_search(search, plan, parts.catalogue, parts.definitions)


def _refused(parts: ProxyParts, search: SearchRequest, failure: UpstreamFailure) -> ProxyRefusal | None:
    """What an upstream may refuse because R4 alone doesn't have it; it follows from the query alone."""
    known = parts.definitions.search_parameters(search.resource_type)
    names = dict.fromkeys(name.partition(":")[0] for name, _ in search.criteria)
    added = [f"`{name}`" for name in names if name in known and not is_of_r4(known[name])]
    if failure.status not in _REFUSES or not added:
        return None
    return ProxyRefusal(400, "not-supported", _BEYOND_R4.format(" or ".join(added)))
