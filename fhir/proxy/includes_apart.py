"""What the includes of a search bring, each asked for as a search of its own.

An upstream that can't give matches and includes together (too large, or it fails at one of them) is asked for matches
one by one, and then for what they lead to and what leads to them. Each is found by searches that fail at nothing that
is withheld (docs/leaks.md L04, L11); which of what comes is an include is decided where it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fhir.proxy.include_sources import Together
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.searchset import MOST_BYTES, fill_page
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import GetPage
from fhir.upstream.failure import UpstreamFailure

_NAMES: Final = 40
"""Of one search."""
_A_PAGE: Final = 200
_MOST_PAGES: Final = 20
"""For one search; its own bound on rows of what is withheld holds for each."""


@dataclass(frozen=True, slots=True)
class IncludesApart:
    """The includes of one search. `Apart` of `fhir.proxy.searchset`."""

    search: SearchRequest
    question_of: Callable[[SearchRequest], str]
    """What the upstream is asked for a search."""
    together: Together
    get: GetPage

    async def __call__(self, matches: Sequence[Shown]) -> Sequence[Shown]:
        """All that may be seen of it. Raises UpstreamFailure, also when it is too much; and BrokenBundle."""
        found: list[Shown] = []
        for search in self._searches(matches):
            found += await self._all(search, MOST_BYTES - sum(len(shown.body) for shown in found))
        return found

    def _searches(self, matches: Sequence[Shown]) -> Iterator[SearchRequest]:
        named: dict[str, list[str]] = {}
        for name in sorted({name for match in matches for name in match.links.included}):
            kind, _, wanted = name.partition("/")
            if self.together(kind):
                named.setdefault(kind, []).append(wanted)
        for kind, ids in named.items():
            yield from _searches(kind, "_id", ids)
        names = [match.name for match in matches]
        for asked, value in self.search.includes:
            kind, parameter, *_ = value.split(":")
            if asked == "_revinclude" and self.together(kind):
                yield from _searches(kind, parameter, names)

    async def _all(self, search: SearchRequest, room: int) -> Sequence[Shown]:
        question = self.question_of(search)
        url, position, passed = question, 0, 0
        found: list[Shown] = []
        for _ in range(_MOST_PAGES):
            page = await fill_page(
                search.resource_type, _A_PAGE, url, position, self.get, question=question, passed=passed
            )
            found += page.matches
            room -= sum(len(shown.body) for shown in page.matches)
            if room < 0:
                break
            if page.next_url is None:
                return found
            url, position, passed = page.next_url, page.next_position, page.next_passed
        raise UpstreamFailure("too-large", status=200)


def _searches(kind: str, parameter: str, values: Sequence[str]) -> Iterator[SearchRequest]:
    for begin in range(0, len(values), _NAMES):
        part = ",".join(values[begin : begin + _NAMES])
        yield SearchRequest(kind, ((parameter, part),), _A_PAGE, None, ())
