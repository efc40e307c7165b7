"""Prometheus metrics of the server. Labels are bounded: methods and route templates that we know, never a path."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from assent.asgi import Receive, Scope, Send, respond

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts of one server process; itself the ASGI endpoint that shows them."""

    def __init__(self, *more: Collector) -> None:
        """`more` are asked at each scrape."""
        self.registry = CollectorRegistry()
        for collector in more:
            self.registry.register(collector)
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "assent_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "assent_request_seconds",
            "Time to the end of the answer.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.open = 0
        """Requests being answered."""
        shown = Gauge("assent_requests_open", "Requests being answered.", registry=self.registry)
        shown.set_function(lambda: self.open)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        known = (method if method in METHODS else "other", route, status)
        series = self._series.get(known)
        if series is None:  # looking one up by its labels takes longer than counting
            requests = self.requests.labels(known[0], route, str(status))
            series = self._series[known] = (requests, self.seconds.labels(route))
        series[0].inc()
        series[1].observe(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape."""
        await respond(send, 200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
