"""Work that many need at once is done once: whoever comes while it is under way waits for the same answer.

INVARIANT: it belongs to all who wait. One who gives up takes nothing from the others; with the last one it ends, so
nothing goes on that nobody waits for, and there is never more of it than there are waiting requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class _UnderWay(Generic[_Answer]):
    def __init__(self, task: asyncio.Task[_Answer]) -> None:
        self.task = task
        self.waiting = 0


class SharedWork(Generic[_Key, _Answer]):
    """Keeps what is under way, by what it is about."""

    def __init__(self) -> None:
        self._under_way: dict[_Key, _UnderWay[_Answer]] = {}

    def __contains__(self, key: _Key) -> bool:
        return key in self._under_way

    async def of(self, key: _Key, begin: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        """The answer; `begin` is called if nobody's is under way. Raises what it raises, for all who wait."""
        work = self._under_way.get(key)
        if work is None:
            work = self._under_way[key] = _UnderWay(asyncio.create_task(begin()))
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            # Forgotten before it ends, so that nobody joins what is being cancelled.
            if (work.task.done() or not work.waiting) and self._under_way.get(key) is work:
                del self._under_way[key]
            if not work.waiting:
                work.task.cancel()
