"""Pages whose resources are had one by one, as they can't be had together: how, their URL says (docs/leaks.md L04).

No server has such URLs. They go on in our own page links; one that an upstream makes up leads to nothing else than it
does there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fhir.proxy.history_by_number import is_by_number, page_by_number
from fhir.proxy.pages_by_id import ReadAlone, is_by_id, page_by_id


def is_had_alone(url: str) -> bool:
    """Whether the page at a URL is had so."""
    return is_by_id(url) or is_by_number(url)


async def page_had_alone(url: str, page: Callable[[str], Awaitable[bytes]], read: ReadAlone) -> bytes:
    """The page at such a URL: of a search by id, of a history by number. Raises UpstreamFailure."""
    return await (page_by_id(url, page, read) if is_by_id(url) else page_by_number(url, read))
