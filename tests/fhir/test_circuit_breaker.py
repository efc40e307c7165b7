"""The breaker before an upstream: what opens it, what goes through while it is open, and what closes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from fhir.upstream.circuit_breaker import CircuitBreaker
from fhir.upstream.failure import FailureKind, UpstreamFailure


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> CircuitBreaker:
    return CircuitBreaker("lab", failures=3, pause=10.0, monotonic=time)


def state(breaker: CircuitBreaker) -> str:
    return breaker.state


def fail(breaker: CircuitBreaker, kind: FailureKind = "timeout", status: int | None = None) -> None:
    with pytest.raises(UpstreamFailure) as caught, breaker.call():
        raise UpstreamFailure(kind, status=status)
    assert caught.value.kind == kind


def refused(breaker: CircuitBreaker) -> int | None:
    """Retry-After, in seconds, of a call that isn't let through."""
    made = False
    with pytest.raises(UpstreamFailure) as caught, breaker.call():
        made = True
    assert not made
    assert caught.value.kind == "paused"
    return caught.value.retry_after


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def begin(breaker: CircuitBreaker) -> AbstractContextManager[None]:
    call = breaker.call()
    call.__enter__()
    return call


def end(call: AbstractContextManager[None], error: BaseException | None = None) -> None:
    with nullcontext() if error is None else pytest.raises(type(error)):
        if not call.__exit__(None if error is None else type(error), error, None) and error is not None:
            raise error


def test_failures_in_a_row_open_it_and_the_pause_counts_down(breaker: CircuitBreaker, time: Time) -> None:
    for _ in range(3):
        assert state(breaker) == "closed"
        fail(breaker)
    assert (state(breaker), breaker.opened) == ("open", 1)
    assert refused(breaker) == 10
    time.now += 9.5
    assert refused(breaker) == 1


def test_an_answer_in_between_begins_the_count_anew(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        fail(breaker)
        fail(breaker)
        succeed(breaker)
    assert state(breaker) == "closed"


@pytest.mark.parametrize(
    ("kind", "status", "opens"),
    [
        ("unreachable", None, True),
        ("timeout", None, True),
        ("bad-status", 429, True),
        ("bad-status", 502, True),
        ("bad-status", 503, True),
        ("bad-status", 504, True),
        ("bad-status", 500, False),
        ("bad-status", 400, False),
        ("bad-status", 401, False),
        ("not-fhir", 200, False),
        ("too-large", 200, False),
        ("truncated", None, False),
        ("redirect", 302, False),
        ("foreign-link", None, False),
    ],
)
def test_only_what_says_that_the_server_is_away_counts(
    breaker: CircuitBreaker, kind: FailureKind, status: int | None, opens: bool
) -> None:
    for _ in range(3):
        fail(breaker, kind, status)
    assert state(breaker) == ("open" if opens else "closed")


def test_after_the_pause_one_call_at_a_time_goes_through(breaker: CircuitBreaker, time: Time) -> None:
    for _ in range(3):
        fail(breaker)
    time.now += 10
    assert state(breaker) == "half-open"
    probe = begin(breaker)
    assert refused(breaker) == 1
    end(probe)
    assert state(breaker) == "closed"
    succeed(breaker)


def test_a_probe_that_fails_begins_another_pause(breaker: CircuitBreaker, time: Time) -> None:
    for _ in range(3):
        fail(breaker)
    time.now += 10
    fail(breaker)
    assert (state(breaker), breaker.opened, refused(breaker)) == ("open", 1, 10)


@pytest.mark.parametrize("given_up", [KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_a_probe_that_its_caller_gives_up_leaves_room_for_the_next(
    breaker: CircuitBreaker, time: Time, given_up: Callable[[], BaseException]
) -> None:
    for _ in range(3):
        fail(breaker)
    time.now += 10
    end(begin(breaker), given_up())
    assert state(breaker) == "half-open"
    succeed(breaker)
    assert state(breaker) == "closed"


def test_calls_from_before_it_opened_change_nothing(breaker: CircuitBreaker, time: Time) -> None:
    early = [begin(breaker) for _ in range(3)]
    for _ in range(3):
        fail(breaker)
    end(early[0])
    assert state(breaker) == "open"
    time.now += 10
    probe = begin(breaker)
    end(early[1], UpstreamFailure("timeout"))
    end(early[2], RuntimeError())
    assert refused(breaker) == 1
    end(probe)
    assert state(breaker) == "closed"
