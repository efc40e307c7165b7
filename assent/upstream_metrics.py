"""What this process saw of the upstreams since it started: for `/metrics` and for operators' pages.

Labels are bounded: names from the settings, resource types of R4, and kinds that we know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from assent.settings import SINGLE_UPSTREAM
from fhir.upstream.upstreams import Upstream, Upstreams


class UpstreamMetrics(Collector):
    """Reads the counts of the upstreams' clients at each scrape."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    def collect(self) -> Iterator[Metric]:
        """One family for each count."""
        requests = CounterMetricFamily(
            "assent_upstream_requests", "Requests to upstreams, by how they ended.", labels=("upstream", "outcome")
        )
        paused = GaugeMetricFamily("assent_upstream_paused", "1 while it isn't asked.", labels=("upstream",))
        sampled = CounterMetricFamily("assent_upstream_sampled", "Resources held against R4.", labels=("upstream",))
        drift = CounterMetricFamily(
            "assent_upstream_drift", "Of these, resources with a fault.", labels=("upstream", "type", "kind")
        )
        for one in self._upstreams:
            for outcome, count in list(one.client.outcomes.items()):
                requests.add_metric([one.name, outcome], count)
            paused.add_metric([one.name], one.client.breaker.state != "closed")
            if one.client.drift is not None:
                sampled.add_metric([one.name], one.client.drift.sampled)
                for (resource_type, kind), count in list(one.client.drift.counts.items()):
                    drift.add_metric([one.name, resource_type, kind], count)
        yield from (requests, paused, sampled, drift)


def described(upstreams: Upstreams) -> Iterator[tuple[str, Literal["ok", "failed"], str]]:
    """For each upstream that was asked: a name, whether it is asked now, and a sentence."""
    for one in upstreams:
        if one.client.outcomes:
            paused = one.client.breaker.state != "closed"
            text = f"{_requests(one)}{_drift(one)}, all in this process since it started"
            name = "upstream" if one.name == SINGLE_UPSTREAM else f"upstream {one.name}"
            yield f"{name}, as used", "failed" if paused else "ok", f"{_pause(one)}{text}"


def _pause(one: Upstream) -> str:
    return "" if one.client.breaker.state == "closed" else "it doesn't answer and isn't asked for a while; "


def _requests(one: Upstream) -> str:
    outcomes = dict(one.client.outcomes)
    answered, asked = outcomes.pop("answered", 0), sum(one.client.outcomes.values())
    failed = ", ".join(f"{count} `{kind}`" for kind, count in sorted(outcomes.items()))
    return f"{answered} of {asked} requests answered" + (f" ({failed})" if failed else "")


def _drift(one: Upstream) -> str:
    if one.client.drift is None or not one.client.drift.sampled:
        return ""
    faults = sorted(dict(one.client.drift.counts).items())
    listed = ", ".join(f"{count} `{resource_type}` (`{kind}`)" for (resource_type, kind), count in faults)
    looked = f"{one.client.drift.sampled} resources held against R4"
    return f"; {looked}, not as it says: {listed}" if listed else f"; {looked}, all as it says"
