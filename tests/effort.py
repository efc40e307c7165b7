"""How much work a call is, counted and not timed, so that it is the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TooMuchWork(AssertionError):
    """More was called than is allowed."""


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Raise TooMuchWork when this thread calls more functions (of Python or of C) than that inside the block.

    It is raised where the work is done, which ends it, and again after the block, should somebody have caught it there.
    """
    left = calls

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event in ("call", "c_call"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise TooMuchWork

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
    if left < 0:
        raise TooMuchWork
