"""Remembers what was shown of a page, for the same plan and the same bytes: apps that poll ask for it again.

A plan is one object while its token's consents, scopes and times stay what they are (`fhir.proxy.read_plans`), and what
it shows of most resources follows from it and from their content. So of a page that comes again under the same plan,
byte for byte, the same is shown. The upstream is asked every time, and what it says anew is decided anew
(docs/decisions/0010-content-memo.md). Bounded in bytes; the page used least lately goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from fhir.minimization.seen_before import SeenBefore
from fhir.proxy.upstream_page import UpstreamPage
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
    body: bytes
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
        """What was found in exactly this body."""
        key = PageKey(id(plan), url, elements)
        known = self._pages.get(key)
        if known is None or known.body != body:
            return None
        self._pages.move_to_end(key)
        return known.page

    def keep(self, plan: ReadPlan, url: str, elements: frozenset[str] | None, body: bytes, page: UpstreamPage) -> None:
        """Remember a page that comes for the second time or more."""
        key = PageKey(id(plan), url, elements)
        if len(body) > MAX_PAGE or not self._seen.again(hash((key, body))):
            return
        if not all(map(self._is_told_by_content, page.resources())):
            return
        # What is shown takes no more than what came, once by itself and once as it is sent; and some for each entry.
        weight = 3 * len(body) + 1_024 * len(page.are_matches)
        self._forget(self._pages.pop(key, None))
        self._pages[key] = _Remembered(plan, body, page, weight)
        self._weight += weight
        while self._weight > self._max:
            _, oldest = self._pages.popitem(last=False)
            self._forget(oldest)

    def _forget(self, gone: _Remembered | None) -> None:
        self._weight -= 0 if gone is None else gone.weight
