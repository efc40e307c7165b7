"""Turns the upstream's searchset into the one that the app may see.

Every entry is decided on its own content, included ones by their own rules (docs/leaks.md L10-L13). Links and totals
are this server's own. A page is filled from as many upstream pages as a bound allows, so that an app can't tell a
page of withheld entries from one that isn't there (L04, L22).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from fhir.minimization.high_water import bundle_meta
from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.include_links import NO_LINKS, Links
from fhir.proxy.pages_by_id import asked_by_id, is_by_id
from fhir.upstream.failure import UpstreamFailure
from policies.model import ResourceFacts

_FEWER: Final = 5
"""By how much less is asked for when an answer was too large."""
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
MAX_UPSTREAM_PAGES: Final = 8
MAX_UPSTREAM_COUNT: Final = 5_000
"""Longest first page that is asked of an upstream that gives no links."""


class BrokenBundle(ValueError):
    """The upstream's answer isn't a searchset; nothing of it may be sent."""


class _Link(msgspec.Struct):
    relation: str
    url: str


class _Search(msgspec.Struct):
    mode: str | None = "match"


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()
    search: _Search | None = None


class _Bundle(msgspec.Struct):
    resourceType: str  # noqa: N815  # FHIR's own spelling
    type: str = ""
    total: int | None = None
    link: list[_Link] = []
    entry: list[_Entry | None] = []


_decode = msgspec.json.Decoder(_Bundle).decode


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource that may be seen, minimized."""

    facts: ResourceFacts
    body: bytes
    links: Links = NO_LINKS
    categories: frozenset[str] = frozenset()
    """Codes of the data categories that it belongs to."""
    name: str = field(init=False)
    """`Type/id`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.facts.resource_type}/{self.facts.id}")


Show = Callable[[bytes], Shown | None]
"""Decides and minimizes one resource; None when it may not be seen."""


@dataclass(slots=True)
class Page:
    """One page for the app."""

    matches: list[Shown] = field(default_factory=list)
    includes: list[Shown] = field(default_factory=list)
    next_url: str | None = None
    """Upstream page where the next page starts; None at the end."""
    next_position: int = 0
    """How many matches of that upstream page were dealt with."""
    next_passed: int = 0
    """How many matches stand on the upstream's pages before it."""


async def fill_page(
    resource_type: str,
    count: int,
    first: str,
    position: int,
    fetch: Callable[[str], Awaitable[bytes]],
    show: Show,
    *,
    including: bool = False,
    bundle_type: str = "searchset",
    question: str = "",
    passed: int = 0,
) -> Page:
    """Collect up to `count` matches that may be seen, beginning behind `position` matches of an upstream page.

    It looks one match further than needed: only a next page that will hold something is announced. With `including`,
    every entry of an upstream page may come along as an include, its matches too: an upstream doesn't include what
    it already has on the page, and where its pages end hangs on what is withheld. `question` is our own, with whose
    answer the result begins, `passed` matches before `first`; where the upstream fails it may be asked for fewer
    results, or for one by one. A search finds a resource once. Raises BrokenBundle, and what `fetch` raises.
    """
    walk = partial(
        _walk,
        *(resource_type, count),
        fetch=fetch,
        show=show,
        including=including,
        bundle_type=bundle_type,
    )
    try:
        return await walk(first, position, passed)
    except UpstreamFailure as failure:
        # It would tell an app that there is what the upstream fails at, though it may not see it (L04).
        one_by_one = asked_by_id(question, failure) if question and bundle_type == "searchset" else None
        if one_by_one is not None and not is_by_id(first):
            with suppress(UpstreamFailure, BrokenBundle):
                return await walk(one_by_one, passed + position, 0)
        if failure.kind != "too-large" or first != question:
            raise
    return await walk(first, 0, 0, shorter=True)


async def _walk(
    resource_type: str,
    count: int,
    first: str,
    position: int,
    passed: int,
    *,
    fetch: Callable[[str], Awaitable[bytes]],
    show: Show,
    including: bool,
    bundle_type: str,
    shorter: bool = False,
) -> Page:
    """`position` may lie beyond the first page."""
    page, url = Page(next_passed=passed), first
    candidates: list[Shown] = []
    versions = bundle_type == "history"
    names: set[str] = set()
    for number in range(MAX_UPSTREAM_PAGES):
        if shorter and number == 0:
            bundle, url = await _first_page(url, fetch, bundle_type)
        else:
            bundle = _read(await fetch(url), bundle_type)
        seen = 0
        for entry in filter(None, bundle.entry):
            mode = "match" if entry.search is None else entry.search.mode
            match = mode == "match"
            seen += match
            over = match and (seen <= position or page.next_url is not None)
            shown = None if over and not including else _shown(entry, mode, show)
            if shown is None:
                continue
            if including:
                candidates.append(shown)
            if over or not match or shown.facts.resource_type != resource_type:
                continue
            if shown.name in names and not versions:
                continue  # what changes while it is paged through may come again
            names.add(shown.name)
            if len(page.matches) < count:
                page.matches.append(shown)
            else:
                page.next_url, page.next_position = url, seen - 1
        if page.next_url is not None:
            return _with_includes(page, candidates)
        following = _following(bundle, url, seen)
        if following is None:
            return _with_includes(page, candidates)
        url, longer = following
        position = seen if longer else max(0, position - seen)
        page.next_passed += 0 if longer else seen
    page.next_url, page.next_position = url, position
    return _with_includes(page, candidates)


async def _first_page(url: str, fetch: Callable[[str], Awaitable[bytes]], bundle_type: str) -> tuple[_Bundle, str]:
    """The first page, and by which URL it was had: what is too large is asked for again with fewer results.

    Else the failure would tell an app that there are large resources, though it sees none of them (L04).
    """
    try:
        return _read(await fetch(url), bundle_type), url
    except UpstreamFailure as failure:
        kind, _, query = url.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        count = next((int(value) for name, value in pairs if name == "_count" and value.isdigit()), 0)
        if failure.kind != "too-large" or count < _FEWER:
            raise
        fewer = count // _FEWER
        others = [(name, value) for name, value in pairs if name != "_count"]
        shorter = f"{kind}?{urlencode([*others, ('_count', str(fewer))])}"
        bundle, asked = await _first_page(shorter, fetch, bundle_type)
        if len(bundle.entry) >= fewer and all(link.relation != "next" for link in bundle.link):
            raise  # it leads to no more: what is there would be lost without a word
        return bundle, asked


def _following(bundle: _Bundle, url: str, seen: int) -> tuple[str, bool] | None:
    """Where the upstream's result goes on, and whether it begins there anew; None at its end.

    Some servers give a first page and a total, and no link to the rest: they are asked for a longer first page, so
    that nothing is lost without a word. Raises BrokenBundle when even the longest doesn't hold the result.
    """
    link = next((link.url for link in bundle.link if link.relation == "next"), None)
    if link is not None:
        return None if link == url else (link, False)
    if bundle.total is None or bundle.total <= seen:
        return None
    kind, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = next((int(value) for name, value in pairs if name == "_count" and value.isdigit()), 0)
    if "://" in url or asked == 0 or seen < asked:
        return None  # it gave all that it has for this question, whatever its total says
    if asked >= MAX_UPSTREAM_COUNT:
        raise BrokenBundle("more results than the upstream lets be read")
    longer = [(name, value) for name, value in pairs if name != "_count"]
    count = str(min(bundle.total, MAX_UPSTREAM_COUNT))
    return f"{kind}?{urlencode([*longer, ('_count', count)])}", True


def _read(body: bytes, bundle_type: str) -> _Bundle:
    try:
        bundle = _decode(body)
    except (msgspec.DecodeError, RecursionError) as broken:
        raise BrokenBundle("not a Bundle") from broken
    if bundle.resourceType != "Bundle" or bundle.type != bundle_type:
        raise BrokenBundle(f"not a {bundle_type} Bundle")
    return bundle


def _shown(entry: _Entry, mode: str | None, show: Show) -> Shown | None:
    """A resource that can't be read, minimized or named is withheld like any other (unknown means deny)."""
    resource = bytes(entry.resource)
    if not resource or mode not in ("match", "include"):
        return None
    try:
        shown = show(resource)
    except NotMinimizable:
        return None
    return shown if shown is not None and _ID.fullmatch(shown.facts.id) else None


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
    entries = [_entry(base, shown, b"match") for shown in page.matches]
    entries += [_entry(base, shown, b"include") for shown in page.includes]
    return paged_bundle(b"searchset", links, total, entries, [*page.matches, *page.includes])


def paged_bundle(
    bundle_type: bytes,
    links: Sequence[tuple[str, str]],
    total: int | None,
    entries: Sequence[bytes],
    sent: Sequence[Shown] = (),
) -> bytes:
    """A Bundle around entries that are JSON already; its confidentiality is the highest of what is `sent`."""
    meta = bundle_meta([shown.body for shown in sent if shown.facts.labels], len(sent))
    parts = [b'{"resourceType":"Bundle"' + meta + b',"type":"' + bundle_type + b'"']
    if total is not None:
        parts.append(b',"total":%d' % total)
    encode = msgspec.json.encode
    if links:
        rendered = b",".join(encode({"relation": relation, "url": url}) for relation, url in links)
        parts.append(b',"link":[' + rendered + b"]")
    if entries:
        parts.append(b',"entry":[' + b",".join(entries) + b"]")
    parts.append(b"}")
    return b"".join(parts)


def _entry(base: str, shown: Shown, mode: bytes) -> bytes:
    full_url = msgspec.json.encode(f"{base}/{shown.name}")
    return b'{"fullUrl":' + full_url + b',"resource":' + shown.body + b',"search":{"mode":"' + mode + b'"}}'
