"""Dates and numbers as people read them: template filters. English; days and times are UTC and say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

from policies.catalogue import Catalogue

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def day(moment: datetime) -> str:
    """`21 November 2026`; spelled out, so that no order of numbers is mistaken."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def clock(moment: datetime) -> str:
    """`14:05`."""
    return f"{moment:%H:%M}"


def minutes_until(moment: datetime, now: datetime) -> int:
    """Whole minutes to wait, at least one."""
    return max(1, -((now - moment) // timedelta(minutes=1)))


def titles(codes: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Titles in the catalogue's order; a code that the catalogue no longer has stands for itself."""
    wanted = set(codes)
    known = [c.title for c in catalogue.categories.values() if c.code in wanted and not c.always]
    return known + sorted(wanted - set(catalogue.categories))


def listed(names: Sequence[str]) -> str:
    """`A, B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def ticks(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    parts = [
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def purpose_title(code: str, catalogue: Catalogue) -> str:
    """The purpose in words, or its code when the catalogue doesn't know it."""
    known = catalogue.purposes.get(code)
    return known.title if known is not None else code
