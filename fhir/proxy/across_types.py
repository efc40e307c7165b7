"""One answer made of searches of several types, one after the other: `$everything` and the search of the whole system.

Each type is guarded, asked, decided and minimized as if it had been searched for alone; nothing is forwarded that a
search of that type wouldn't ask. FHIR R4 §3.1.1 (system-level search), Patient-everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fhir.proxy.access_records import Seen
from fhir.proxy.history import read_since
from fhir.proxy.narrowing import opening, upstream_search
from fhir.proxy.page import Page
from fhir.proxy.page_links import PageLinks, Parameters
from fhir.proxy.parts import Answered, Asked, NothingOpened, Pages, ProxyParts, guarded_search
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.searchset import fill_page, searchset
from fhir.r4.decided_types import everything_types
from fhir.upstream.upstreams import TypeNotServed
from policies.decide import ReadPlan, plan_read
from policies.model import Deny

_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")


async def answer_everything(parts: ProxyParts, asked: Asked) -> Answered:
    """`Patient/{id}/$everything`: what may be seen of the patient's own data. Raises NothingOpened."""
    wanted = asked.interaction.id
    plan = asked.plan
    if plan.patient is None:
        plan = await parts.plans.for_patient(plan, wanted, asked.now)
    if wanted not in plan.shares:
        raise NothingOpened  # by token and consents alone, whatever is there
    links = PageLinks(parts, asked, f"Patient/{wanted}/$everything")
    types, others = _asked_types(links.query, ("_since", "_count", "_format"), "`$everything`")
    criteria = [(name, value) for name, value in others if name != "_since"]
    if read_since(links.query) is not None:
        criteria += [("_lastUpdated", f"ge{value}") for name, value in others if name == "_since"]
    own = tuple(kind for kind in everything_types(parts.catalogue) if parts.serves(kind))
    if types is not None and not set(types) <= set(own):
        raise ProxyRefusal(400, "not-supported", f"`_type` may name, for `$everything`: {', '.join(own)}")
    _check_scopes(parts, asked, types or ())
    searches = []
    for kind in _remaining(links, own):
        by_token = plan_read(plan.access, "operation", kind, parts.catalogue)
        if (types is None or kind in types) and not isinstance(by_token, Deny):
            search = guarded_search(parts, kind, tuple(criteria), plan)
            searches.append((search, opening(plan, kind, parts.catalogue)))
    return await _answer(parts, asked, links, searches)


async def answer_system_search(parts: ProxyParts, asked: Asked) -> Answered:
    """`?_type=A,B`: what may be seen of several types, by the parameters that all types have."""
    links = PageLinks(parts, asked, "")
    types, others = _asked_types(links.query, ("_id", "_lastUpdated", "_count", "_format"), "a search of all types")
    if types is None:
        raise ProxyRefusal(400, "not-supported", "a search of all types must name them with `_type`")
    unknown = [kind for kind in types if kind not in parts.definitions.types]
    if unknown:
        raise ProxyRefusal(400, "not-supported", "`_type` names what is no resource type of R4")
    if not all(map(parts.serves, types)):
        raise TypeNotServed
    _check_scopes(parts, asked, types)
    searches = []
    for kind in _remaining(links, types):
        search = guarded_search(parts, kind, others, asked.plan)
        searches.append((search, await parts.plans.for_search(asked.plan, search, asked.now)))
    return await _answer(parts, asked, links, searches)


def _asked_types(query: Parameters, taken: Sequence[str], name: str) -> tuple[tuple[str, ...] | None, Parameters]:
    """The types of `_type`, each once, in their order; and the other parameters. Raises ProxyRefusal."""
    if any(given not in ("_type", *taken) for given, _ in query):
        listed = ", ".join(f"`{parameter}`" for parameter in ("_type", *taken))
        raise ProxyRefusal(400, "not-supported", f"{name} takes {listed} only")
    given = [kind for parameter, value in query if parameter == "_type" for kind in value.split(",")]
    if not all(_TYPE.fullmatch(kind) for kind in given):
        raise ProxyRefusal(400, "invalid", "`_type` is a list of resource types, as in `_type=Condition,Observation`")
    others = tuple((parameter, value) for parameter, value in query if parameter != "_type")
    return tuple(dict.fromkeys(given)) or None, others


def _remaining(links: PageLinks, types: Sequence[str]) -> Sequence[str]:
    """The types from the one on with which this page begins."""
    if links.payload is None:
        return types
    return types[types.index(links.payload.resource_type) :] if links.payload.resource_type in types else ()


def _check_scopes(parts: ProxyParts, asked: Asked, types: Iterable[str]) -> None:
    """A type that was named is refused as a search of it alone would be: by the token."""
    for kind in types:
        decided = plan_read(asked.access, asked.interaction.code, kind, parts.catalogue)
        if isinstance(decided, Deny):
            raise ProxyRefusal(403, "forbidden", decided.reasons[0].text)


async def _answer(
    parts: ProxyParts, asked: Asked, links: PageLinks, searches: Sequence[tuple[SearchRequest, ReadPlan]]
) -> Answered:
    """One page: searches are asked in their order until it is full, and then until it is known whether more follows."""
    page, goes_on, shown_by = Page(), "", asked.plan
    for search, plan in searches:
        kind = search.resource_type
        question = upstream_search(search, plan, parts.catalogue, parts.definitions)
        first, position, passed = links.begin(question, kind)
        if not plan.shares:
            continue
        pages = Pages(parts, kind)
        show = parts.views.under(plan, {}, origins=pages.origins)
        room = search.count - len(page.matches)
        get = pages.decided_by(show)
        more = await fill_page(kind, room, first, position, get, question=question, passed=passed)
        shown_by = shown_by.sharing({**shown_by.shares, **plan.shares})
        page.matches += more.matches
        page.next_url, page.next_position, page.next_passed = more.next_url, more.next_position, more.next_passed
        goes_on = kind
        if page.next_url is not None:
            break
    total = links.total(page, counted=asked.plan.patient is not None)
    body = searchset(page, parts.base, links.of(page, goes_on), total)
    return Answered(body, Seen(shown_by, page.matches))
