"""A history that can't be had together: each version alone, by its number, from the current one down.

A version that is too large, too slow, or that the upstream fails at breaks the whole history: an app that may not see
it would learn by the failure that it is there (docs/leaks.md L40). FHIR doesn't say that versions are numbers (R4
§2.29.0.4); on most servers they are. Where they aren't, or grow by other things than changes, this is no way.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from fhir.proxy.pages_by_id import ENOUGH, ReadAlone
from fhir.upstream.failure import UpstreamFailure

_BY_NUMBER: Final = "by-number:"
"""Before the URL of a page that is had so; then come its first version, and `Type/id`."""
_MOST: Final = 8
"""Versions of one page."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")
"""A version that so many others can precede."""
_PAGE: Final = re.compile(
    rf"{_BY_NUMBER}({_NUMBER.pattern}):([A-Z][A-Za-z]{{1,63}})/(?!\.\.?$)([A-Za-z0-9\-.]{{1,64}})"
)


class _Meta(msgspec.Struct):
    versionId: str = ""  # noqa: N815  # FHIR's own spelling


class _Versioned(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)


_decode: Final = msgspec.json.Decoder(_Versioned).decode


def asked_by_number(name: str, version: str, behind: int) -> str | None:
    """Where the history of `Type/id`, whose current version this is, goes on behind so many versions, had so.

    None where versions aren't numbered like that.
    """
    if _NUMBER.fullmatch(version) is None:
        return None
    # Where numbers were left out, that many versions lie further down, and some come again.
    return f"{_BY_NUMBER}{max(1, int(version) - behind)}:{name}"


def is_by_number(url: str) -> bool:
    """Whether the page at a URL is had so."""
    return url.startswith(_BY_NUMBER)


async def page_by_number(url: str, read: ReadAlone) -> bytes:
    """The page at a URL that is had so; a version that isn't there has a place on it too.

    Raises UpstreamFailure, also for one that the upstream made up.
    """
    found = _PAGE.fullmatch(url)
    if found is None:
        raise UpstreamFailure("foreign-link")
    number, kind, wanted = int(found[1]), found[2], found[3]
    size = 0
    entries: list[dict[str, msgspec.Raw]] = []
    while number > 0 and len(entries) < _MOST and size < ENOUGH:
        body = await read(kind, wanted, str(number))
        given = body is not None and version_of(body) == str(number)
        entries.append({"resource": msgspec.Raw(body)} if body is not None and given else {})
        size += len(body or b"")
        number -= 1
    links = [{"relation": "next", "url": f"{_BY_NUMBER}{number}:{kind}/{wanted}"}] if number > 0 else []
    return msgspec.json.encode({"resourceType": "Bundle", "type": "history", "link": links, "entry": entries})


def version_of(body: bytes) -> str:
    """What a resource says of its version; empty for nothing."""
    try:
        return _decode(body).meta.versionId
    except (msgspec.DecodeError, RecursionError):
        return ""
