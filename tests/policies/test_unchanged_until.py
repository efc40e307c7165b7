"""Until when a consent says the same, as far as time alone goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.consent_rule import ConsentRule, Period, Provision, unchanged_until

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALWAYS = Period()


def rule(period: Period = ALWAYS, *nested: Period, whole: Period = ALWAYS) -> ConsentRule:
    """A rule whose provision has this period, and provisions in it, one within the other, these."""
    inside: tuple[Provision, ...] = ()
    for own in reversed(nested):
        inside = (Provision("p", False, own, provisions=inside),)
    return ConsentRule("Consent/c/_history/1", "c", True, "p", Provision("p", True, period, provisions=inside), whole)


@pytest.mark.parametrize(
    ("rules", "until"),
    [
        ([], None),
        ([rule()], None),
        ([rule(Period(NOW - HOUR, None))], None),
        ([rule(Period(None, NOW - HOUR))], None),
        ([rule(Period(NOW - 2 * HOUR, NOW - HOUR))], None),
        ([rule(Period(NOW - HOUR, NOW + HOUR))], NOW + HOUR),
        ([rule(Period(NOW + HOUR, NOW + 2 * HOUR))], NOW + HOUR),
        ([rule(Period(None, NOW))], NOW),  # the last instant that it covers: at once it is over
        ([rule(Period(NOW, None))], None),
        ([rule(whole=Period(None, NOW + HOUR))], NOW + HOUR),
        ([rule(Period(None, NOW + 3 * HOUR), ALWAYS, Period(NOW + 2 * HOUR, None))], NOW + 2 * HOUR),
        ([rule(Period(None, NOW + 3 * HOUR)), rule(Period(NOW + HOUR, None))], NOW + HOUR),
    ],
)
def test_it_is_the_first_bound_of_any_period_that_lies_ahead(rules: list[ConsentRule], until: datetime | None) -> None:
    assert unchanged_until(rules, NOW) == until
