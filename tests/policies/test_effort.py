"""What counts the work of other tests does count it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.effort import TooMuchWork, at_most


def work(calls: int) -> None:
    for _ in range(calls):
        str.upper("x")


def test_more_calls_than_are_allowed_end_the_work() -> None:
    with at_most(1_000):
        work(900)
    with pytest.raises(TooMuchWork), at_most(1_000):
        work(1_100)


def test_they_are_told_of_even_where_somebody_caught_it() -> None:
    with pytest.raises(TooMuchWork), at_most(1_000), suppress(TooMuchWork):
        work(1_100)
