"""Waiting for what another process, or the server in its own time, will do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_SECONDS: Final = 20.0
"""More than any promise of the server: a slow machine isn't a mistake. `bench/` has the times."""


async def soon(answered: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it comes to be so, asked every 20 ms."""
    try:
        async with asyncio.timeout(_SECONDS):
            while not await answered():  # noqa: ASYNC110 - nobody tells us when
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    return True
