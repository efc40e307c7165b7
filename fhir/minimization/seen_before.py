"""Tells what comes again from what comes once, so that only the former is worth remembering.

Most of what a server reads it reads once. Keeping that, and letting go of it again, costs more than finding out anew.
"""

from __future__ import annotations

from typing import Final


class SeenBefore:
    """Remembers marks, of which the last `most` or more are known and the rest forgotten."""

    def __init__(self, most: int = 16_384) -> None:
        self._most: Final = most
        self._now: set[int] = set()
        self._before: set[int] = set()

    def again(self, mark: int) -> bool:
        """Whether the mark, a hash, was shown before. Two things may share one: it decides about memory only."""
        if mark in self._now or mark in self._before:
            return True
        self._now.add(mark)
        if len(self._now) == self._most:
            self._before, self._now = self._now, set()
        return False
