"""A page whose resources can't be had together: a list of their ids, and then each alone.

One that is too large, too slow, or that the upstream fails at breaks every search in whose result it stands: an app
that may not see it would learn by the failure that it is there (docs/leaks.md L04). Alone, it is missing like any
other. Where the result goes on is listed likewise, so a page's URL says how it is had. What is included isn't listed:
it is had by searches of its own (`fhir.proxy.includes_apart`).
"""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from fhir.upstream.failure import UpstreamFailure

_BY_ID: Final = "by-id:"
"""Before the URL of a page that is had so; then comes how many of what that lists were had before."""
_PAGE: Final = re.compile(_BY_ID + r"([0-9]{1,2}):(.+)", re.ASCII | re.DOTALL)
_LISTED: Final = 8
"""Results of one list."""
_MOST_LISTED: Final = 3 * _LISTED
"""Of a server that gives more than it is asked for."""
_ASKED: Final = f"&_count={_LISTED}"
_ASKED_LONGER: Final = f"&_count={_MOST_LISTED}"
_AT_ONCE: Final = 2
"""Reads at a time: each answer may be as large as an answer may be."""
ENOUGH: Final = 8 * 1024 * 1024
"""Bytes of what may be seen after which a page ends; what is left of its list is the next one."""
_MOST_BYTES: Final = 4 * ENOUGH
"""Of one that can't end before its list does."""
_FAILS: Final = (200, 500, 502, 504)
"""Statuses of a server that tried to answer, or of a gateway that gave up on it."""
_NAME: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/(?!\.\.?$)([A-Za-z0-9\-.]{1,64})")
_ELSEWHERE: Final = ("_count", "_include", "_revinclude")

ReadAlone = Callable[[str, str, str], Awaitable[bytes | None]]
"""Type, id and version (empty: the current one) of a resource; None when there is none that may be seen.

INVARIANT: of a page for an app, what is withheld isn't given: where it ends mustn't hang on how large that is.
"""


class _Listed(msgspec.Struct):
    resourceType: str = ""  # noqa: N815  # FHIR's own spelling
    id: str = ""


class _Entry(msgspec.Struct):
    resource: _Listed = msgspec.field(default_factory=_Listed)
    search: msgspec.Raw = msgspec.Raw(b'{"mode":"match"}')


class _Link(msgspec.Struct):
    relation: str
    url: str


class _Bundle(msgspec.Struct):
    type: str = ""
    total: int | None = None
    link: list[_Link] = []
    entry: list[_Entry] = []

    @property
    def leads_on(self) -> bool:
        return any(link.relation == "next" for link in self.link)


_decode: Final = msgspec.json.Decoder(_Bundle).decode


def may_be_had_alone(failure: UpstreamFailure) -> bool:
    """Whether asking for each resource alone may help: it can't where the upstream refuses the question."""
    return failure.status in _FAILS or failure.kind in ("timeout", "unreachable")


def asked_by_id(url: str) -> str:
    """The URL of a search's first page, had so."""
    kind, _, query = url.partition("?")
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in _ELSEWHERE]
    return f"{_BY_ID}0:{kind}?{urlencode([*pairs, ('_elements', 'id')])}{_ASKED}"


def is_by_id(url: str) -> bool:
    """Whether the page at a URL is had so."""
    return url.startswith(_BY_ID)


async def page_by_id(url: str, page: Callable[[str], Awaitable[bytes]], read: ReadAlone) -> bytes:
    """The page at a URL that is had so. Raises UpstreamFailure, also for one that the upstream made up."""
    found = _PAGE.fullmatch(url)
    if found is None:
        raise UpstreamFailure("foreign-link")
    at, asked = int(found[1]), found[2]
    listed = await _list(asked, page)
    if _may_go_on(listed, asked):
        # Some servers say neither how many there are nor where it goes on: what a longer list doesn't fill, it holds.
        listed = await _list(asked.removesuffix(_ASKED) + _ASKED_LONGER, page)
        if len(listed.entry) >= _MOST_LISTED:  # what is there would be lost without a word
            raise UpstreamFailure("too-large", status=200)
    entries, leads_on = listed.entry, listed.leads_on
    if len(entries) > _MOST_LISTED:  # it gives what it likes
        raise UpstreamFailure("too-large", status=200)
    # Where no link leads to the rest, a longer list is asked for instead, and this one must be had whole.
    whole = not leads_on and (listed.total or 0) > len(entries)
    told: list[Mapping[str, msgspec.Raw]] = []
    size = 0
    while at < len(entries) and (whole or size < ENOUGH):
        if size > _MOST_BYTES:
            raise UpstreamFailure("too-large", status=200)
        part = entries[at : at + _AT_ONCE]
        bodies = await gather(*(_alone(entry.resource, read) for entry in part))
        told += [_entry(entry, body) for entry, body in zip(part, bodies, strict=True)]
        size += sum(len(body) for body in bodies if body is not None)
        at += len(part)
    links = [{"relation": link.relation, "url": f"{_BY_ID}0:{link.url}"} for link in listed.link]
    if at < len(entries):
        links = [{"relation": "next", "url": f"{_BY_ID}{at}:{asked}"}]
    said = {"type": listed.type, "total": listed.total if whole else None, "link": links, "entry": told}
    return msgspec.json.encode({"resourceType": "Bundle", **said})


async def _list(url: str, page: Callable[[str], Awaitable[bytes]]) -> _Bundle:
    try:
        return _decode(await page(url))
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamFailure("not-fhir", status=200) from None


def _may_go_on(listed: _Bundle, asked: str) -> bool:
    """Whether a list is as long as it was asked for, and nothing says that it is all.

    A server that led here by a link would lead on by one: only our own question is put again.
    """
    ends = listed.leads_on or listed.total is not None or len(listed.entry) < _LISTED
    return not ends and asked.endswith(_ASKED)


async def _alone(listed: _Listed, read: ReadAlone) -> bytes | None:
    name = _NAME.fullmatch(f"{listed.resourceType}/{listed.id}")
    return None if name is None else await read(name[1], name[2], "")


def _entry(listed: _Entry, body: bytes | None) -> Mapping[str, msgspec.Raw]:
    resource = {} if body is None else {"resource": msgspec.Raw(body)}
    return {**resource, "search": listed.search}
