"""A page of an upstream's search or history, and what may be seen of each entry, decided when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.page import Page
from fhir.proxy.shown import Show, Shown

ENTRIES: Final = b'"entry":['
"""How entries begin in compact JSON."""
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_SMALLEST: Final = 32
"""Bytes of an entry with a resource, at least. What is smaller holds nothing, and takes twenty times as much memory."""
_MOST_OF_NOTHING: Final = 5_000
_LONGEST_LINK: Final = 8_192
"""As `fhir.upstream.links` follows them. Relative ones are asked as they are, and an app is given them sealed."""


class BrokenBundle(ValueError):
    """The upstream's answer isn't a page; nothing of it may be sent."""


class _Link(msgspec.Struct):
    relation: str
    url: str


class _Search(msgspec.Struct):
    mode: str | None = ""


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
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def cut_before_entries(body: bytes) -> int:
    """Where the entries of a Bundle begin, in bytes; 0 where something stands behind them, or they can't be found.

    Many servers make up an id and a time for each Bundle, which stand before its entries: the rest comes again.
    """
    cut = max(body.find(ENTRIES), 0)
    try:
        behind = _members(b"{" + body[cut:]).keys() if cut else ()
        _decode(_without_entries(body[:cut]))
    except (msgspec.DecodeError, RecursionError):
        return 0
    return cut if behind == {"entry"} else 0


def _without_entries(head: bytes) -> bytes:
    """INVARIANT: is JSON only where the entries are the Bundle's own, and not part of another member or of a string.

    Raises msgspec.DecodeError for a quote that is escaped.
    """
    if head.endswith(b"\\"):
        raise msgspec.DecodeError("no member begins here")
    return head + b'"entry":[]}'


def _mode(entry: _Entry, unmarked: str) -> str | None:
    said = "" if entry.search is None else entry.search.mode
    return unmarked if said == "" else said


class UpstreamPage:
    """What an upstream answered, with one view of it."""

    __slots__ = ("_bundle_type", "_entries", "_known", "_modes", "_show", "alone", "are_matches", "next_url", "total")

    def __init__(self, body: bytes, show: Show, bundle_type: str = "searchset", *, unmarked: str = "match") -> None:
        """`unmarked`: what an entry is of which the upstream doesn't say why it is there. Raises BrokenBundle."""
        self._bundle_type: Final = bundle_type
        try:
            bundle = _decode(body)
        except (msgspec.DecodeError, RecursionError) as broken:
            raise BrokenBundle("not a Bundle") from broken
        if bundle.resourceType != "Bundle" or bundle.type != bundle_type:
            raise BrokenBundle(f"not a {bundle_type} Bundle")
        if len(bundle.entry) > _MOST_OF_NOTHING + len(body) // _SMALLEST:
            raise BrokenBundle("entries without end, and nothing in them")
        self._entries = [entry for entry in bundle.entry if entry is not None]
        self._show = show
        self._known: dict[int, Shown | None] = {}
        self.alone: dict[tuple[int, int, int], Page] = {}
        """What it is for an app whose page it fills by itself: by `position`, `passed` and `count` of `fill_page`."""
        self._modes = [_mode(entry, unmarked) for entry in self._entries]
        self.are_matches: Sequence[bool] = [mode == "match" for mode in self._modes]
        """Of each entry, whether the upstream calls it a match."""
        self.next_url: Final = next((link.url for link in bundle.link if link.relation == "next"), None)
        """Where the upstream says that it goes on."""
        self.total: Final = bundle.total
        """How many matches there are in all, as the upstream says."""
        if self.next_url is not None and len(self.next_url) > _LONGEST_LINK:
            raise BrokenBundle("a link that nobody can follow")

    def behind(self, head: bytes) -> UpstreamPage:
        """The same entries, in a Bundle that begins with `head`. Raises BrokenBundle."""
        try:
            page = UpstreamPage(_without_entries(head), self._show, self._bundle_type)
        except msgspec.DecodeError as broken:
            raise BrokenBundle("not a Bundle") from broken
        page._entries, page._known = self._entries, self._known
        page._modes, page.are_matches = self._modes, self.are_matches
        if (page.next_url, page.total) == (self.next_url, self.total):
            page.alone = self.alone
        return page

    def resources(self) -> Iterator[bytes]:
        """The resource of each entry that has one."""
        return filter(None, (bytes(entry.resource) for entry in self._entries))

    def shown(self, number: int) -> Shown | None:
        """What may be seen of an entry. One that can't be read, minimized or named is withheld: unknown means deny."""
        if number not in self._known:
            self._known[number] = self._decided(number)
        return self._known[number]

    def _decided(self, number: int) -> Shown | None:
        resource = bytes(self._entries[number].resource)
        if not resource or self._modes[number] not in ("match", "include"):
            return None
        try:
            shown = self._show(resource)
        except NotMinimizable:
            return None
        return shown if shown is not None and _ID.fullmatch(shown.facts.id) else None


GetPage = Callable[[str], Awaitable[UpstreamPage]]
"""The page at a URL of the upstream. Raises BrokenBundle and UpstreamFailure."""


def decided_by(show: Show, fetch: Callable[[str], Awaitable[bytes]], bundle_type: str = "searchset") -> GetPage:
    """Pages as they are fetched."""

    async def page(url: str) -> UpstreamPage:
        return UpstreamPage(await fetch(url), show, bundle_type)

    return page
