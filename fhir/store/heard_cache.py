"""A cache that is kept true by the change bus.

INVARIANT: it is used only while the bus is healthy. Without it the database is asked, and if that fails, so does the
request (docs/architecture.md, "Storage").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Health(Protocol):
    """Says whether news of changes would arrive."""

    def healthy(self) -> bool:
        """Whether a change made a second ago would be known by now."""


class HeardCache(Generic[_Key, _Value]):
    """At most `most` values; the one that was longest unused goes first. Its owner hears the news and forgets."""

    def __init__(self, bus: Health, most: int) -> None:
        self._bus = bus
        self._most = most
        self._kept: OrderedDict[_Key, _Value] = OrderedDict()
        self._epoch = 0

    async def get(self, key: _Key, load: Callable[[], Awaitable[_Value | None]]) -> _Value | None:
        """What is kept, else what `load` finds.

        That there is nothing isn't kept: whoever asks for what isn't there fills no memory.
        """
        if not self._bus.healthy():
            self.forget_all()
            return await load()
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        epoch = self._epoch
        found = await load()
        # Only if nothing was announced while the database was being read.
        if found is not None and epoch == self._epoch and self._bus.healthy():
            self._kept[key] = found
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found

    def forget(self, key: _Key) -> None:
        """This one changed."""
        self._epoch += 1
        self._kept.pop(key, None)

    def forget_where(self, changed: Callable[[_Value], bool]) -> None:
        """Those changed of which `changed` says so."""
        self._epoch += 1
        for key in [key for key, value in self._kept.items() if changed(value)]:
            del self._kept[key]

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._epoch += 1
        self._kept.clear()
