"""Dates, numbers and lists as people read them, by the locale data of their language: template filters.

Days and times are UTC and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import format_decimal
from markupsafe import Markup, escape

from policies.catalogue import Catalogue
from policies.parts import joined, with_parts

_CLOCK: Final = "HH:mm"
"""The same everywhere: 24 hours, so that no time is mistaken."""


def day(moment: date, locale: Locale) -> str:
    """`21 November 2026`; spelled out, so that no order of numbers is mistaken."""
    return format_date(moment, "long", locale)


def clock(moment: datetime, locale: Locale) -> str:
    """`14:05`."""
    return format_time(moment, _CLOCK, locale=locale)


def number(value: int, locale: Locale) -> str:
    """`1,234`."""
    return format_decimal(value, locale=locale)


def minutes_until(moment: datetime, now: datetime) -> int:
    """Whole minutes to wait, at least one."""
    return max(1, -((now - moment) // timedelta(minutes=1)))


def titles(codes: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Titles in the catalogue's order, no part beside its whole; a code that the catalogue no longer has stands for
    itself."""
    wanted = set(joined(codes, catalogue.wholes))
    known = [c.title for c in catalogue.categories.values() if c.code in wanted and not c.always]
    return known + sorted(wanted - set(catalogue.categories))


def kept(asked: Iterable[str], shared: Iterable[str], catalogue: Catalogue, rest: str) -> list[str]:
    """Titles of what was asked for and isn't shared. `rest` says of a `%(kind)s` that a part of it is shared."""
    shared = tuple(shared)
    begun = {catalogue.wholes.get(code) for code in shared}
    missing = set(asked) - with_parts(shared, catalogue.wholes)
    worded = {
        code: replace(category, title=rest % {"kind": category.title}) if code in begun else category
        for code, category in catalogue.categories.items()
    }
    return titles(missing, replace(catalogue, categories=worded))


def listed(names: Sequence[str], locale: Locale) -> str:
    """`A, B and C`."""
    return format_list(names, locale=locale)


def language_name(tag: str, locale: Locale) -> str:
    """`Spanish` for `es`, in the reader's language; the tag when nobody has named it."""
    try:
        return Locale.parse(tag, sep="-").get_display_name(locale) or tag
    except (ValueError, UnknownLocaleError):
        return tag


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
