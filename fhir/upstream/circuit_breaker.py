"""Gives up on an upstream that doesn't answer, for a while, so that requests to it fail at once and hold nothing.

Closed, calls go through. After some failures in a row it opens: calls are refused until the pause is over. Then one
call at a time goes through, and its end decides (half-open). One at a time, since a server that hangs would hold up
every call that is let through for the whole time-out. A call that was let through before the last change of state
says nothing of the state that came after.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import structlog

from fhir.upstream.failure import UpstreamFailure

State = Literal["closed", "open", "half-open"]

_log: Final = structlog.get_logger(__name__)


class CircuitBreaker:
    """The breaker of one upstream. `name` is for the log."""

    def __init__(
        self,
        name: str = "",
        *,
        failures: int = 5,
        pause: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`failures` in a row open it, for `pause` seconds."""
        self.name: Final = name
        self.opened: int = 0
        """How often it opened."""
        self._most, self._pause, self._monotonic = failures, pause, monotonic
        self._failures = 0
        self._until: float | None = None
        """When the pause is over; None while closed."""
        self._probing = False
        self._era = 0
        """Counts changes of state."""

    @property
    def state(self) -> State:
        """As it stands now."""
        if self._until is None:
            return "closed"
        return "half-open" if self._monotonic() >= self._until else "open"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call. Raises UpstreamFailure (`paused`) without making it while the breaker is open."""
        era = self._let_through()
        try:
            yield
        except UpstreamFailure as failure:
            self._ended(era, failed=failure.means_down)
            raise
        except BaseException:  # given up by whoever asked: that says nothing of the upstream
            if era == self._era:
                self._probing = False
            raise
        self._ended(era, failed=False)

    def _let_through(self) -> int:
        if self._until is not None:
            left = self._until - self._monotonic()
            if left > 0 or self._probing:
                raise UpstreamFailure("paused", retry_after=max(1, math.ceil(left)))
            self._probing = True
        return self._era

    def _ended(self, era: int, *, failed: bool) -> None:
        if era != self._era:
            return
        if failed:
            self._failures += 1
            if self._probing or self._failures >= self._most:
                self._open()
            return
        self._failures = 0
        if self._probing:
            self._close()

    def _open(self) -> None:
        again = self._probing
        self._era += 1
        self._probing, self._failures = False, 0
        self._until = self._monotonic() + self._pause
        if not again:
            self.opened += 1
            _log.warning("upstream_paused", upstream=self.name, seconds=self._pause)

    def _close(self) -> None:
        self._era += 1
        self._probing, self._until = False, None
        _log.info("upstream_answers_again", upstream=self.name)
