"""Tells the person at the terminal what is happening: one line a step, with the time since the start."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]


class Progress:
    """Lines like `[  0.4 s] starting PostgreSQL`."""

    def __init__(self, say: Say, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._monotonic = monotonic
        self._begun = monotonic()

    def step(self, text: str) -> None:
        """Begin a step."""
        self._say(f"[{self._monotonic() - self._begun:6.1f} s] {text}")
