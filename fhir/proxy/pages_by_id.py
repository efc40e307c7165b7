"""A page whose resources can't be had together: a list of their ids, and then each alone.

One that is too large, or that the upstream fails at, breaks every search in whose result it stands: an app that may not
see it would learn by the failure that it is there (docs/leaks.md L04). Alone, it is missing like any other. Where the
result goes on is listed likewise, so a page's URL says how it is had.
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
"""Before the URL of a page that is had so."""
_AT_ONCE: Final = 8
"""Results of one page: each may be as large as an answer may be."""
_MOST: Final = 3 * _AT_ONCE
"""Entries of one page, with what is included."""
_FAILS: Final = (200, 500, 502, 504)
"""Statuses of a server that tried to answer, or of a gateway that gave up on it."""
_NAME: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/(?!\.\.?$)([A-Za-z0-9\-.]{1,64})")

Read = Callable[[str, str], Awaitable[bytes | None]]
"""The current version of a type's resource; None when there is none, or the upstream can't or won't give it."""


class _Listed(msgspec.Struct):
    resourceType: str = ""  # noqa: N815  # FHIR's own spelling
    id: str = ""


class _Entry(msgspec.Struct):
    resource: _Listed = msgspec.field(default_factory=_Listed)
    search: msgspec.Raw = msgspec.Raw(b"null")


class _Link(msgspec.Struct):
    relation: str
    url: str


class _Bundle(msgspec.Struct):
    type: str = ""
    total: int | None = None
    link: list[_Link] = []
    entry: list[_Entry] = []


_decode: Final = msgspec.json.Decoder(_Bundle).decode


def asked_by_id(url: str, failure: UpstreamFailure) -> str | None:
    """The URL of a search's first page, had so; None where that can't help, as the upstream refuses the question."""
    if failure.status not in _FAILS:
        return None
    kind, _, query = url.partition("?")
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "_count"]
    return f"{_BY_ID}{kind}?{urlencode([*pairs, ('_elements', 'id'), ('_count', str(_AT_ONCE))])}"


def is_by_id(url: str) -> bool:
    """Whether the page at a URL is had so."""
    return url.startswith(_BY_ID)


async def page_at(url: str, page: Callable[[str], Awaitable[bytes]], read: Read) -> bytes:
    """The page at a URL, however it is had. Raises UpstreamFailure."""
    if not is_by_id(url):
        return await page(url)
    try:
        listed = _decode(await page(url.removeprefix(_BY_ID)))
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamFailure("not-fhir", status=200) from None
    leads_on = any(link.relation == "next" for link in listed.link)
    ends = leads_on or len(listed.entry) < _AT_ONCE or listed.total is not None
    if len(listed.entry) > _MOST or not ends:  # it gives what it likes, or what is there would be lost without a word
        raise UpstreamFailure("too-large", status=200)
    found = await gather(*(_alone(entry.resource, read) for entry in listed.entry))
    entries = [{**alone, "search": entry.search} for alone, entry in zip(found, listed.entry, strict=True)]
    links = [{"relation": link.relation, "url": f"{_BY_ID}{link.url}"} for link in listed.link]
    said = {"type": listed.type, "total": listed.total, "link": links, "entry": entries}
    return msgspec.json.encode({"resourceType": "Bundle", **said})


async def _alone(listed: _Listed, read: Read) -> Mapping[str, msgspec.Raw]:
    name = _NAME.fullmatch(f"{listed.resourceType}/{listed.id}")
    body = None if name is None else await read(name[1], name[2])
    return {} if body is None else {"resource": msgspec.Raw(body)}
