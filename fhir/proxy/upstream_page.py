"""A page of an upstream's search or history, and what may be seen of each entry, decided when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.page import Page
from fhir.proxy.shown import Show, Shown

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


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


def _mode(entry: _Entry, unmarked: str) -> str | None:
    said = "" if entry.search is None else entry.search.mode
    return unmarked if said == "" else said


class UpstreamPage:
    """What an upstream answered, with one view of it."""

    __slots__ = ("_entries", "_known", "_modes", "_show", "alone", "are_matches", "next_url", "total")

    def __init__(self, body: bytes, show: Show, bundle_type: str = "searchset", *, unmarked: str = "match") -> None:
        """`unmarked`: what an entry is of which the upstream doesn't say why it is there. Raises BrokenBundle."""
        try:
            bundle = _decode(body)
        except (msgspec.DecodeError, RecursionError) as broken:
            raise BrokenBundle("not a Bundle") from broken
        if bundle.resourceType != "Bundle" or bundle.type != bundle_type:
            raise BrokenBundle(f"not a {bundle_type} Bundle")
        self._entries = [entry for entry in bundle.entry if entry is not None]
        self._show = show
        self._known: dict[int, Shown | None] = {}
        self.alone: dict[tuple[int, int, int], Page] = {}
        """What it is for an app whose page it fills by itself: by `position`, `passed` and `count` of `fill_page`."""
        self._modes = [_mode(entry, unmarked) for entry in self._entries]
        self.are_matches: Final[Sequence[bool]] = [mode == "match" for mode in self._modes]
        """Of each entry, whether the upstream calls it a match."""
        self.next_url: Final = next((link.url for link in bundle.link if link.relation == "next"), None)
        """Where the upstream says that it goes on."""
        self.total: Final = bundle.total
        """How many matches there are in all, as the upstream says."""

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
