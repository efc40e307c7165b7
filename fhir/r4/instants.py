"""The span of time that a FHIR date, dateTime or instant names (FHIR R4 §2.24.0.1), as rules compare it.

Searches read more than rules do, and less strictly: `fhir.search.date_ranges`.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_REST_OF_SECOND: Final = timedelta(microseconds=999_999)
_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d{1,30})?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII)


def instant_of(value: object, *, end: bool) -> datetime | None:
    """First (or, for `end`, last) instant that a FHIR date/dateTime covers, in UTC; None when malformed."""
    span = span_of(value)
    return None if span is None else span[end]


def span_of(value: object) -> tuple[datetime, datetime] | None:
    """First and last instant that a FHIR date/dateTime covers, in UTC; None when malformed.

    FHIR R4 datatypes, Period: an end of `2012-02-03` covers that whole day. A value without a time zone is UTC.
    """
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        return None
    try:
        if len(value) > 10:
            moment = datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment, moment if "." in value else moment + _REST_OF_SECOND
        first, last = date.fromisoformat(f"{value}-01-01"[:10]), _last_day(value)
    except (ValueError, OverflowError):
        return None
    return datetime.combine(first, time.min, tzinfo=UTC), datetime.combine(last, time.max, tzinfo=UTC)


def _last_day(value: str) -> date:
    year, month = int(value[:4]), int(value[5:7] or 12)
    return date.fromisoformat(value) if len(value) == 10 else date(year, month, calendar.monthrange(year, month)[1])
