"""Turns the upstream's searchset into the one that the app may see.

Every entry is decided on its own content, included ones by their own rules (docs/leaks.md L10-L13). Links and totals
are this server's own. A page is filled from as many upstream pages as a bound allows, so that an app can't tell a
page of withheld entries from one that isn't there (L04, L22).
"""

from __future__ import annotations

from asyncio import timeout
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from fhir.minimization.high_water import bundle_meta
from fhir.proxy.had_alone import is_had_alone
from fhir.proxy.page import Page
from fhir.proxy.pages_by_id import asked_by_id, may_be_had_alone
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import BrokenBundle, GetPage, UpstreamPage
from fhir.upstream.failure import UpstreamFailure

_FEWER: Final = 5
"""By how much less is asked for when an answer was too large."""
_MOST_ALONE: Final = 4
"""Pages for apps that are kept with one of the upstream: an app polls by one length."""
_USUAL_PAGES: Final = 8
"""Pages of the upstream that are read for one of ours."""
_ENOUGH: Final = 400
"""Matches that are looked at for one page of ours, where the upstream gives fewer at once than it is asked for."""
_MOST_PAGES: Final = 64
MAX_UPSTREAM_COUNT: Final = 5_000
"""Longest first page that is asked of an upstream that gives no links."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of what may be seen, after which a page for an app ends."""
MOST_SECONDS_ALONE: Final = 60.0
"""For a page of resources that are had one by one: each that the upstream is slow at takes some time-outs."""


Apart = Callable[[Sequence[Shown]], Awaitable[Sequence[Shown]]]
"""What the includes of a search bring for these matches, each asked for by itself."""


async def fill_page(
    resource_type: str,
    count: int,
    first: str,
    position: int,
    get: GetPage,
    *,
    apart: Apart | None = None,
    versions: bool = False,
    question: str = "",
    passed: int = 0,
    one_by_one: Callable[[int], Awaitable[str | None]] | None = None,
) -> Page:
    """Collect up to `count` matches that may be seen, beginning behind `position` matches of an upstream page.

    It looks one match further than needed: only a next page that will hold something is announced. Of a search that
    includes, `apart` has what is included where matches are had one by one; else every entry of an upstream page may
    come along as an include, its matches too: an upstream doesn't include what it already has on the page, and where
    its pages end hangs on what is withheld. `question` is our own, with whose answer the result begins, `passed`
    matches before `first`; where the upstream fails it may be asked for fewer results, or for one by one: a search by
    id, anything else where `one_by_one` says that it goes on behind so many matches. A search finds a resource once, a
    history (`versions`) each of its versions. Raises BrokenBundle, and what `get` raises.
    """
    walk = partial(_walk, resource_type, count, get=get, apart=apart, versions=versions)
    try:
        walked = walk(first, position, passed)
        return await (_in_time(walked) if is_had_alone(first) else walked)
    except UpstreamFailure as failure:
        # It would tell an app that there is what the upstream fails at, though it may not see it (L04).
        if not is_had_alone(first) and may_be_had_alone(failure):
            with suppress(UpstreamFailure, BrokenBundle):
                behind = passed + position
                if one_by_one is not None and (alone := await one_by_one(behind)) is not None:
                    return await _in_time(walk(alone, 0, behind))
                if one_by_one is None and question:
                    return await _in_time(walk(asked_by_id(question), behind, 0))
        if failure.kind != "too-large" or first != question:
            raise
    return await walk(first, 0, 0, shorter=True)


async def _in_time(walked: Awaitable[Page]) -> Page:
    """Raises UpstreamFailure where resources are had one by one, and too many take too long."""
    try:
        async with timeout(MOST_SECONDS_ALONE):
            return await walked
    except TimeoutError:
        raise UpstreamFailure("timeout") from None


async def _walk(
    resource_type: str,
    count: int,
    first: str,
    position: int,
    passed: int,
    *,
    get: GetPage,
    apart: Apart | None,
    versions: bool,
    shorter: bool = False,
) -> Page:
    """`position` may lie beyond the first page."""
    page, url, size = Page(next_passed=passed), first, 0
    candidates: list[Shown] = []
    names: set[str] = set()
    number = looked = 0
    while _reads_on(number, looked, url):
        if shorter and number == 0:
            upstream, url = await _first_page(url, get)
        else:
            upstream = await get(url)
        if number == 0:
            begun = position, passed, count
            if (known := upstream.alone.get(begun)) is not None:
                return known
        seen = 0
        for place, match in enumerate(upstream.are_matches):
            seen += match
            over = match and (seen <= position or page.next_url is not None)
            shown = None if over and apart is None else upstream.shown(place)
            if shown is None:
                continue
            if apart is not None:
                candidates.append(shown)
            if over or not match or shown.facts.resource_type != resource_type:
                continue
            if shown.name in names and not versions:
                continue  # what changes while it is paged through may come again
            names.add(shown.name)
            if len(page.matches) < count and size < MOST_BYTES:
                page.matches.append(shown)
                size += len(shown.body)
            else:
                page.next_url, page.next_position = url, seen - 1
        following = None if page.next_url is not None else _following(upstream, url, seen)
        if following is None:
            if number == 0 and len(upstream.alone) < _MOST_ALONE:
                upstream.alone[begun] = page
            break
        number, looked = number + 1, looked + seen
        url, longer = following
        position = seen if longer else max(0, position - seen)
        page.next_passed += 0 if longer else seen
    else:
        page.next_url, page.next_position = url, position
    if apart is not None and is_had_alone(first):
        candidates += await apart(page.matches)
    return _with_includes(page, candidates)


def _reads_on(number: int, looked: int, url: str) -> bool:
    """Whether another page of the upstream is read, after so many and so many matches: what is withheld is passed by.

    Of what is had one by one there are few pages.
    """
    return number < _USUAL_PAGES or (looked < _ENOUGH and number < _MOST_PAGES and not is_had_alone(url))


async def _first_page(url: str, get: GetPage) -> tuple[UpstreamPage, str]:
    """The first page, and by which URL it was had: what is too large is asked for again with fewer results.

    Else the failure would tell an app that there are large resources, though it sees none of them (L04).
    """
    try:
        return await get(url), url
    except UpstreamFailure as failure:
        kind, _, query = url.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        count = next((int(value) for name, value in pairs if name == "_count" and value.isdigit()), 0)
        if failure.kind != "too-large" or count < _FEWER:
            raise
        fewer = count // _FEWER
        others = [(name, value) for name, value in pairs if name != "_count"]
        shorter = f"{kind}?{urlencode([*others, ('_count', str(fewer))])}"
        page, asked = await _first_page(shorter, get)
        if len(page.are_matches) >= fewer and page.next_url is None:
            raise  # it leads to no more: what is there would be lost without a word
        return page, asked


def _following(page: UpstreamPage, url: str, seen: int) -> tuple[str, bool] | None:
    """Where the upstream's result goes on, and whether it begins there anew; None at its end.

    Some servers give a first page and a total, and no link to the rest: they are asked for a longer first page, so
    that nothing is lost without a word. Raises BrokenBundle when even the longest doesn't hold the result.
    """
    if page.next_url is not None:
        return None if page.next_url == url else (page.next_url, False)
    if page.total is None or page.total <= seen:
        return None
    kind, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = next((int(value) for name, value in pairs if name == "_count" and value.isdigit()), 0)
    if "://" in url or asked == 0 or seen < asked:
        return None  # it gave all that it has for this question, whatever its total says
    if asked >= MAX_UPSTREAM_COUNT:
        raise BrokenBundle("more results than the upstream lets be read")
    longer = [(name, value) for name, value in pairs if name != "_count"]
    count = str(min(page.total, MAX_UPSTREAM_COUNT))
    return f"{kind}?{urlencode([*longer, ('_count', count)])}", True


def _with_includes(page: Page, candidates: Sequence[Shown]) -> Page:
    """Only what a shown match leads to, or what leads to one: else an include would tell of a withheld match.

    In an order of their own: the upstream's may hang on the withheld ones.
    """
    matched = {match.name for match in page.matches}
    wanted = {name for match in page.matches for name in match.links.included}
    linked = {
        shown.name: shown
        for shown in candidates
        if shown.name not in matched and (shown.name in wanted or not matched.isdisjoint(shown.links.including))
    }
    page.includes = [linked[name] for name in sorted(linked)]
    return page


def searchset(page: Page, base: str, links: Sequence[tuple[str, str]], total: int | None) -> bytes:
    """Render the page as a FHIR R4 searchset Bundle. `links` are (relation, URL) pairs."""
    if page.rendered is None:
        begin = b'{"fullUrl":' + msgspec.json.encode(f"{base}/")[:-1]
        entries = [_entry(begin, shown, b"match") for shown in page.matches]
        entries += [_entry(begin, shown, b"include") for shown in page.includes]
        page.rendered = _meta([*page.matches, *page.includes]), b",".join(entries)
    return _bundle(b"searchset", links, total, *page.rendered)


def paged_bundle(
    bundle_type: bytes,
    links: Sequence[tuple[str, str]],
    total: int | None,
    entries: Sequence[bytes],
    sent: Sequence[Shown] = (),
) -> bytes:
    """A Bundle around entries that are JSON already; its confidentiality is the highest of what is `sent`."""
    return _bundle(bundle_type, links, total, _meta(sent), b",".join(entries))


def _meta(sent: Sequence[Shown]) -> bytes:
    return bundle_meta([shown.body for shown in sent if shown.facts.labels], len(sent))


def _bundle(
    bundle_type: bytes, links: Sequence[tuple[str, str]], total: int | None, meta: bytes, entries: bytes
) -> bytes:
    parts = [b'{"resourceType":"Bundle"' + meta + b',"type":"' + bundle_type + b'"']
    if total is not None:
        parts.append(b',"total":%d' % total)
    encode = msgspec.json.encode
    if links:
        rendered = b",".join(encode({"relation": relation, "url": url}) for relation, url in links)
        parts.append(b',"link":[' + rendered + b"]")
    if entries:
        parts += [b',"entry":[', entries, b"]"]
    parts.append(b"}")
    return b"".join(parts)


def _entry(begin: bytes, shown: Shown, mode: bytes) -> bytes:
    """`begin`: up to the name in its address, which ends that text."""
    name = msgspec.json.encode(shown.name)[1:]
    return b'%b%b,"resource":%b,"search":{"mode":"%b"}}' % (begin, name, shown.body, mode)
