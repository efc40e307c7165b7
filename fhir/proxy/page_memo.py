"""Remembers what was shown of a page, for the same plan and the same bytes: apps that poll ask for it again.

A plan is one object while its token's consents, scopes and times stay what they are (`fhir.proxy.read_plans`), and what
it shows of most resources follows from it and from their content. So of entries that come again under the same plan,
byte for byte, the same is shown, whatever the Bundle around them is called now. The upstream is asked every time, and
what it says anew is decided anew (docs/decisions/0010-content-memo.md). Bounded in bytes; the page used least lately
goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from fhir.minimization.seen_before import SeenBefore
from fhir.proxy.upstream_page import ENTRIES, BrokenBundle, UpstreamPage, cut_before_entries
from policies.decide import ReadPlan

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_PAGE: Final = 1024 * 1024
"""Larger pages are rare, and one of them would push out many."""


class PageKey(NamedTuple):
    """What decides on a page, besides its content."""

    plan: int
    """The `id` of the plan."""
    url: str
    elements: frozenset[str] | None
    """Those that the app asked for, None being all."""


class _Remembered(NamedTuple):
    plan: ReadPlan
    """INVARIANT: held, so that no other plan gets its `id`."""
    head: bytes
    """What stood before the entries; empty where they can't be told apart from it."""
    entries: bytes
    """The rest of the body."""
    page: UpstreamPage
    weight: int


class PageMemo:
    """Pages of searches without includes."""

    def __init__(self, is_told_by_content: Callable[[bytes], bool], max_bytes: int = MAX_BYTES) -> None:
        """`is_told_by_content`: whether what is shown of a resource hangs on no other resource."""
        self._is_told_by_content = is_told_by_content
        self._max = max_bytes
        self._weight = 0
        self._seen = SeenBefore()
        self._pages: OrderedDict[PageKey, _Remembered] = OrderedDict()

    def find(self, plan: ReadPlan, url: str, elements: frozenset[str] | None, body: bytes) -> UpstreamPage | None:
        """What was found in exactly these entries."""
        key = PageKey(id(plan), url, elements)
        known = self._pages.get(key)
        if known is None or not body.endswith(known.entries):
            return None
        self._pages.move_to_end(key)
        head = body[: len(body) - len(known.entries)]
        if head == known.head:
            return known.page
        try:
            return known.page.behind(head) if known.head else None
        except BrokenBundle:
            return None

    def keep(self, plan: ReadPlan, url: str, elements: frozenset[str] | None, body: bytes, page: UpstreamPage) -> None:
        """Remember a page that comes for the second time or more."""
        key = PageKey(id(plan), url, elements)
        if len(body) > MAX_PAGE:
            return
        if not self._seen.again(hash((key, body[max(body.find(ENTRIES), 0) :]))):
            return
        if not all(map(self._is_told_by_content, page.resources())):
            return
        cut = cut_before_entries(body)
        # What is shown takes no more than what came, once by itself and once as it is sent; and some for each entry.
        weight = 3 * len(body) + 1_024 * len(page.are_matches)
        self._forget(self._pages.pop(key, None))
        self._pages[key] = _Remembered(plan, body[:cut], body[cut:], page, weight)
        self._weight += weight
        while self._weight > self._max:
            _, oldest = self._pages.popitem(last=False)
            self._forget(oldest)

    def _forget(self, gone: _Remembered | None) -> None:
        self._weight -= 0 if gone is None else gone.weight
