"""A long list on a page: found by name, and shown part by part. By GET, so that it works without a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

ON_A_PAGE: Final = 20
LONGEST_NAME: Final = 100
_SEARCHED_FROM: Final = 8
"""A list of so many has a search; a shorter one is seen at a glance."""
_MOST_DIGITS: Final = 6
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Listing(Generic[_Item]):
    """The part of a list that is shown."""

    items: Sequence[_Item]
    name: str
    """What was searched for; empty for everything."""
    kept: Mapping[str, str]
    """What else stands in the address."""
    page: int
    """From 1."""
    pages: int
    found: int
    is_long: bool
    """Whether it is worth a search."""
    address: str

    @property
    def earlier(self) -> str | None:
        """Address of the part before this one."""
        return self._at(self.page - 1) if self.page > 1 else None

    @property
    def later(self) -> str | None:
        """Address of the part after this one."""
        return self._at(self.page + 1) if self.page < self.pages else None

    def _at(self, page: int) -> str:
        named = {"name": self.name} if self.name else {}
        return f"{self.address}?{urlencode({**self.kept, **named, 'page': str(page)})}"


def asked_name(query: Mapping[str, str]) -> str:
    """The name that is searched for, as one line."""
    return " ".join(query.get("name", "")[:LONGEST_NAME].split())


def listing(
    items: Sequence[_Item],
    name_of: Callable[[_Item], str],
    query: Mapping[str, str],
    address: str,
    kept: Mapping[str, str] | None = None,
) -> Listing[_Item]:
    """The part that `name` and `page` of the query ask for; a page that isn't there is the nearest one."""
    name = asked_name(query)
    found = [item for item in items if name.casefold() in name_of(item).casefold()]
    pages = max(1, -(-len(found) // ON_A_PAGE))
    told = query.get("page", "")
    number = int(told) if told.isascii() and told.isdigit() and len(told) <= _MOST_DIGITS else 1
    page = min(max(number, 1), pages)
    shown = found[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    return Listing(shown, name, kept or {}, page, pages, len(found), len(items) >= _SEARCHED_FROM, address)
