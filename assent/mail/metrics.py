"""What became of letters since this process started, for `/metrics`: never who they are for, or what about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from authz.mail.outbox import Outbox, Outcome

_OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


class MailMetrics(Collector):
    """Reads the counts of the outbox at each scrape."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        """One family for each count; each outcome is there from the start, so that a first failure is a rise."""
        letters = CounterMetricFamily("assent_mail_letters", "Tries to send a letter, by outcome.", labels=("outcome",))
        for outcome in _OUTCOMES:
            letters.add_metric([outcome], self._outbox.outcomes[outcome])
        waiting = GaugeMetricFamily("assent_mail_waiting", "Letters that wait, looked at every ten minutes.")
        waiting.add_metric([], self._outbox.waiting)
        yield from (letters, waiting)
