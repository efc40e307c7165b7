"""The span of time that a FHIR date, dateTime, instant, Period or Timing covers, as searches compare it.

FHIR R4 §3.1.1.4.4: a date is compared by its implicit range; `2024-03` is all of March. A Period without an end goes
on for ever, and of a Timing only the outer limits count. What has no time zone is read as UTC. Nothing here raises:
what is malformed has no range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for "since ever" where a Period has no start."""
LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""Stands for "for ever" where a Period has no end."""

_DATE: Final = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,30}))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class DateRange:
    """A half-open span: `low` belongs to it, `high` doesn't. Both are aware and in UTC."""

    low: datetime
    high: datetime


def date_range(value: object) -> DateRange | None:
    """Range of a date, dateTime or instant at its own precision; seconds may be left out, as in search values."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        low = _start(match)
    except (ValueError, OverflowError):  # no such day or hour; or before year 1 once it is in UTC
        return None
    try:
        return DateRange(low, _end(low, match))
    except (ValueError, OverflowError):
        return DateRange(low, LATEST)  # up to the end of the year 9999


def period_range(value: object) -> DateRange | None:
    """Range of a Period; an end that is given but malformed makes the whole malformed, not open."""
    if not isinstance(value, dict):
        return None
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return None
    first = DateRange(EARLIEST, EARLIEST) if start is None else date_range(start)
    last = DateRange(LATEST, LATEST) if end is None else date_range(end)
    if first is None or last is None or last.high <= first.low:
        return None
    return DateRange(first.low, last.high)


def timing_range(value: object) -> DateRange | None:
    """From the first to the last moment that a Timing names: its events and the Period that bounds it."""
    ranges = list(_timing_parts(value)) if isinstance(value, dict) else []
    if not ranges:
        return None
    return DateRange(min(r.low for r in ranges), max(r.high for r in ranges))


def _timing_parts(timing: dict[str, object]) -> Iterator[DateRange]:
    events = timing.get("event")
    for event in events if isinstance(events, list) else ():
        if found := date_range(event):
            yield found
    repeat = timing.get("repeat")
    if isinstance(repeat, dict) and (bounds := period_range(repeat.get("boundsPeriod"))):
        yield bounds


def _start(match: re.Match[str]) -> datetime:
    second = int(match["second"] or 0)
    leap = second == 60  # FHIR allows it, Python doesn't: the second after :59
    moment = datetime(
        int(match["year"]),
        int(match["month"] or 1),
        int(match["day"] or 1),
        int(match["hour"] or 0),
        int(match["minute"] or 0),
        59 if leap else second,
        int((match["fraction"] or "")[:6].ljust(6, "0")),
        tzinfo=_zone(match["zone"]),
    )
    return moment.astimezone(UTC) + timedelta(seconds=1 if leap else 0)


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _end(low: datetime, match: re.Match[str]) -> datetime:
    if match["fraction"]:
        return low + timedelta(microseconds=10 ** max(0, 6 - len(match["fraction"])))
    if match["second"]:
        return low + timedelta(seconds=1)
    if match["minute"]:
        return low + timedelta(minutes=1)
    if match["day"]:
        return low + timedelta(days=1)
    if match["month"]:
        year, month = divmod(low.year * 12 + low.month, 12)
        return low.replace(year=year, month=month + 1)
    return low.replace(year=low.year + 1)
