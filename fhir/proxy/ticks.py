"""When an answer that shows nothing leaves: on the tick, so that its time doesn't tell what was looked at for it.

To find that a resource isn't there takes less than to read one and withhold it; in a batch that adds up. Rounded up to
ticks the two take the same, unless the upstream itself takes longer by more than a tick (docs/leaks.md, Bounds).
"""

from __future__ import annotations

import asyncio

TICK = 0.02
"""Seconds. Tests that compare no times set 0."""


def now() -> float:
    """The time by which ticks are counted, in seconds."""
    return asyncio.get_running_loop().time()


async def wait_for_tick(begun: float) -> None:
    """Wait until whole ticks have passed since a request began."""
    if TICK:
        await asyncio.sleep((begun - now()) % TICK)
