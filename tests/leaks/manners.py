"""Ways in which upstreams answer that the sandbox's doesn't: what they fail at, and how they write Bundles.

Real servers give each Bundle an id and a time, lead on by a link that says nothing, count what is withheld, leave out
what FHIR lets them leave out, or break down over one resource. Each is the same in both of two worlds but for what is
withheld in one, and an app must still not be able to tell them apart.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final
from urllib.parse import urlsplit

MARK: Final = "x-withheld"
"""Language of all that is withheld: what an upstream fails at is known by it."""
MOST: Final = 400_000
"""Bytes that an answer may have; one that is too large has more."""

_NEXT: Final = re.compile(rb'(?<="relation":"next","url":")[^"]+')
_FULL_URL: Final = re.compile(rb'"fullUrl":"[^"]*",')
_MODE: Final = re.compile(rb',"search":\{"mode":"[a-z]+"\}')
_TOTAL: Final = re.compile(rb'"total":[0-9]+,')
_HEAD: Final = b'{"resourceType":"Bundle",'
_GET_PAGES: Final = "/?_getpages="
_MOST_LINKS: Final = 5_000
_numbers: Final = count(1_000_000)

FAULTS: Final[Mapping[str, tuple[int, bytes]]] = {
    "error": (500, b'{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception"}]}'),
    "gateway": (502, b"<html>bad gateway</html>"),
    "page": (200, b"<html><body>an exception</body></html>"),
    "empty": (200, b""),
    "cut": (200, b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"id"'),
    "large": (200, b'{"resourceType":"Bundle"' + b" " * MOST + b"}"),
}
SHAPES: Final = ("", "hapi", "sparse", "outcome")
_ENTRIES: Final = b'"entry":['
_OUTCOME: Final = b'{"resource":{"resourceType":"OperationOutcome","issue":[]},"search":{"mode":"outcome"}},'


class Links(OrderedDict[str, str]):
    """The targets behind links that say nothing; the oldest goes first."""

    def made(self, url: str) -> str:
        """A new link to where this one leads."""
        place = urlsplit(url)
        link = f"{_GET_PAGES}{next(_numbers)}&_getpagesoffset=51&_bundletype=searchset"
        self[link] = f"{place.path}?{place.query}"
        while len(self) > _MOST_LINKS:
            self.popitem(last=False)
        return f"{place.scheme}://{place.netloc}{link}"


@dataclass(frozen=True, slots=True)
class Manner:
    """How an upstream answers reads, searches and histories."""

    shape: str = ""
    """One of SHAPES. `hapi`: each Bundle is new, counts all, and leads on by opaque links. `sparse`: no modes, no
    full URLs, no totals. `outcome`: where something withheld is found, a word about it comes first.
    Empty: as the sandbox does."""
    fault: str = ""
    """Which of FAULTS stands for what is withheld, alone or with other things; a list of ids never fails."""

    def told(self, target: str, status: int, body: bytes, links: Links) -> tuple[int, bytes]:
        """What is said in place of the sandbox's answer."""
        if self.fault and status == 200 and MARK.encode() in body and "_elements=id" not in target:
            return FAULTS[self.fault]
        if status != 200 or not self.shape or not body.startswith(_HEAD):
            return status, body
        if self.shape == "hapi":
            head = _HEAD + b'"id":"%d","meta":{"lastUpdated":"2026-01-01T00:00:00.%d+00:00"},'
            number = next(_numbers)
            body = _NEXT.sub(lambda found: links.made(found[0].decode()).encode(), body)
            return status, head % (number, number % 1_000) + body[len(_HEAD) :]
        if self.shape == "outcome":
            return status, body.replace(_ENTRIES, _ENTRIES + _OUTCOME, 1) if MARK.encode() in body else body
        body = _TOTAL.sub(b"", _FULL_URL.sub(b"", body), count=1)
        return status, _MODE.sub(b"", body)

    def meant(self, target: str, links: Links) -> str:
        """What the sandbox is asked for."""
        target = links.get(target, target)
        counts = self.shape == "hapi" and "?" in target and "/_history" not in target and "_total=" not in target
        return f"{target}&_total=accurate" if counts else target
