"""Whether a server fails at one resource or at all is found out by asking, over a socket."""

from __future__ import annotations

import pytest

from fhir.upstream.circuit_breaker import CircuitBreaker
from fhir.upstream.client import UpstreamFailure
from fhir.upstream.source import Place, UpstreamSource, read_if_given
from tests.fhir.test_upstream_client import PATIENT, Upstream, client_of, whole
from tests.fhir.test_upstream_client import upstream as upstream

_HANGS_UP = b""


def _of_one(request: str) -> bytes:
    """Breaks down over one resource, has another, and knows no other ids."""
    if "/Patient/hidden" in request:
        return _HANGS_UP
    return whole(PATIENT) if "/Patient/p1 " in request else whole(b"", "404 Not Found")


async def test_what_a_server_hangs_up_over_is_absent(upstream: Upstream) -> None:
    upstream.answer = _of_one
    async with client_of(upstream.base) as client:
        source = UpstreamSource(client, Place("ehr"))
        assert await read_if_given(source, "Patient", "hidden", "") is None
        assert await read_if_given(source, "Patient", "hidden", "2") is None
        assert await read_if_given(source, "Patient", "p1", "") == PATIENT
    asked = [request.split(" ")[1].removeprefix("/fhir/r4/Patient/") for request in upstream.requests]
    assert (asked[0], asked[2], asked[3]) == ("hidden", "hidden", "hidden/_history/2")
    assert len(asked) == 7


async def test_a_server_that_hangs_up_over_everything_is_away(upstream: Upstream) -> None:
    upstream.answer = lambda _: _HANGS_UP
    async with client_of(upstream.base, breaker=CircuitBreaker(failures=100)) as client:
        for wanted in ("hidden", "p1", "absent"):
            with pytest.raises(UpstreamFailure) as failed:
                await read_if_given(UpstreamSource(client, Place("ehr")), "Patient", wanted, "")
            assert failed.value.kind == "unreachable"


async def test_reads_of_what_a_server_fails_at_do_not_cut_off_the_others(upstream: Upstream) -> None:
    upstream.answer = _of_one
    async with client_of(upstream.base, breaker=CircuitBreaker(failures=3)) as client:
        source = UpstreamSource(client, Place("ehr"))
        for _ in range(10):
            assert await read_if_given(source, "Patient", "hidden", "") is None
        assert client.breaker.opened == 0
