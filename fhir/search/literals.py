"""How the value of a search parameter is written: lists, escapes, prefixes, and each type's syntax.

FHIR R4 §3.1.1.4 (search parameter types), §3.1.1.4.1 (prefixes), §3.1.1.5.7 (escaping). Every reader takes the text
of one value and answers a frozen value or raises `SearchError`; nothing here knows about resources or tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from fhir.search.date_ranges import date_range
from fhir.search.values import normalized_text

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
INDEXED_LENGTH: Final = 300
"""Characters of a value that are indexed: two such columns, at four bytes each, still fit a B-tree tuple."""

SearchErrorCode = Literal["invalid", "value", "not-supported", "too-long", "too-costly"]

_PREFIXES: Final[dict[str, Prefix]] = {
    "eq": "eq",
    "ne": "ne",
    "gt": "gt",
    "lt": "lt",
    "ge": "ge",
    "le": "le",
    "sa": "sa",
    "eb": "eb",
}
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class SearchError(Exception):
    """A search that is not answered: `code` is an issue type of OperationOutcome, `text` tells what to change."""

    def __init__(self, code: SearchErrorCode, parameter: str, text: str) -> None:
        super().__init__(text)
        self.code: Final = code
        self.parameter: Final = parameter
        self.text: Final = text


@dataclass(frozen=True, slots=True)
class TokenLiteral:
    """`system|code`: a None system or code is not asked about, an empty system asks for none (`|code`)."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class ReferenceLiteral:
    """A reference within this server (`id`, with or without its type), or the absolute `url` of another."""

    type: str | None = None
    id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class DateLiteral:
    """A moment in UTC as wide as it was written: half-open."""

    prefix: Prefix
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """A number, `exact` as written and half-open as wide as its digits say; with a unit when one was given."""

    prefix: Prefix
    exact: Decimal
    low: Decimal
    high: Decimal
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """Text to search for, as given and as compared without regard to case and accents."""

    value: str
    normalized: str


@dataclass(frozen=True, slots=True)
class UriLiteral:
    """A URI, compared as it is written."""

    value: str


Literals = TokenLiteral | ReferenceLiteral | DateLiteral | QuantityLiteral | StringLiteral | UriLiteral


def split_escaped(parameter: str, text: str, separator: str) -> list[str]:
    """Parts between separators that no backslash precedes; escapes stay for `unescape`."""
    parts = [""]
    escaped = False
    for character in text:
        if character == separator and not escaped:
            parts.append("")
            continue
        escaped = character == "\\" and not escaped
        parts[-1] += character
    if escaped:
        raise SearchError("value", parameter, f"`{parameter}` ends in a lone backslash; write it as `\\\\`")
    return parts


def unescape(parameter: str, text: str) -> str:
    r"""Text with `\,` `\|` `\$` `\\` resolved; any other escape is an error (FHIR R4 §3.1.1.5.7)."""
    found = re.search(r"\\[^,|$\\]", text.replace("\\\\", ""))
    if found:
        raise SearchError("value", parameter, f"`{parameter}` holds the unknown escape `{found.group()}`")
    return re.sub(r"\\([,|$\\])", r"\1", text)


def read_text(parameter: str, text: str) -> str:
    """One unescaped value, not empty and no longer than what is indexed."""
    value = unescape(parameter, text)
    if not value.strip():
        raise SearchError("value", parameter, f"`{parameter}` has an empty value; leave it out or give one")
    if len(value) >= INDEXED_LENGTH:
        raise SearchError("too-long", parameter, f"a value of `{parameter}` has {INDEXED_LENGTH} characters or more")
    if "\0" in value:
        raise SearchError("value", parameter, f"`{parameter}` holds a NUL character")
    # INVARIANT: what reaches the database can be encoded as UTF-8.
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise SearchError("value", parameter, f"`{parameter}` holds text that is not UTF-8")
    return value


def read_string(parameter: str, text: str) -> StringLiteral:
    """A string value (§3.1.1.4.8)."""
    value = read_text(parameter, text)
    plain = normalized_text(value)
    if not plain:
        # INVARIANT: no string condition is empty, for an empty prefix would match everything.
        raise SearchError("value", parameter, f"`{parameter}` has a value without any letter or digit to search for")
    return StringLiteral(value, plain)


def read_uri(parameter: str, text: str) -> UriLiteral:
    """A uri value (§3.1.1.4.14)."""
    return UriLiteral(read_text(parameter, text))


def read_token(parameter: str, text: str) -> TokenLiteral:
    """`code`, `system|code`, `|code` or `system|` (§3.1.1.4.10)."""
    parts = split_escaped(parameter, text, "|")
    if len(parts) > 2:
        raise SearchError("value", parameter, f"`{parameter}` takes `system|code` with one bar at most")
    if len(parts) == 1:
        return TokenLiteral(None, read_text(parameter, parts[0]))
    system, code = parts
    if not system and not code:
        raise SearchError("value", parameter, f"`{parameter}` needs a system or a code around its bar")
    return TokenLiteral(
        read_text(parameter, system) if system else "",
        read_text(parameter, code) if code else None,
    )


def read_reference(parameter: str, text: str, base_url: str) -> ReferenceLiteral:
    """`id`, `Type/id` or an absolute URL; one under the base URL of this server is local (§3.1.1.4.12)."""
    value = read_text(parameter, text)
    base = base_url.rstrip("/") + "/"
    local = value.removeprefix(base) if base_url else value
    if _ID.fullmatch(local):
        if local is not value and local != value:
            raise SearchError("value", parameter, f"`{parameter}` names this server's base, but no `Type/id` in it")
        return ReferenceLiteral(id=local)
    resource_type, _, rest = local.partition("/")
    if _TYPE.fullmatch(resource_type) and _ID.fullmatch(rest):
        return ReferenceLiteral(type=resource_type, id=rest)
    if local == value and _URL.fullmatch(value):
        return ReferenceLiteral(url=value)
    raise SearchError("value", parameter, f"`{parameter}` takes an id, `Type/id` or an absolute URL")


def read_date(parameter: str, text: str) -> DateLiteral:
    """A date or dateTime of any precision, with a prefix; without a time zone it is read as UTC (§3.1.1.4.7)."""
    value = read_text(parameter, text)
    prefix, value = _prefix(parameter, value)
    found = date_range(value)
    if found is None:
        raise SearchError("value", parameter, f"`{parameter}` takes a date like `2024-05` or `2024-05-01T10:00:00Z`")
    return DateLiteral(prefix, found.low, found.high)


def read_number(parameter: str, text: str) -> QuantityLiteral:
    """A number with a prefix; its last digit says how precise it is (§3.1.1.4.6)."""
    return _measure(parameter, read_text(parameter, text))


def read_quantity(parameter: str, text: str) -> QuantityLiteral:
    """`number`, `number|system|code` or `number||code` (§3.1.1.4.11)."""
    parts = split_escaped(parameter, text, "|")
    measure = _measure(parameter, read_text(parameter, parts[0]))
    if len(parts) == 1:
        return measure
    if len(parts) != 3:
        raise SearchError("value", parameter, f"`{parameter}` takes `number`, `number|system|code` or `number||code`")
    system = read_text(parameter, parts[1]) if parts[1] else None
    code = read_text(parameter, parts[2]) if parts[2] else None
    return QuantityLiteral(measure.prefix, measure.exact, measure.low, measure.high, system, code)


def _prefix(parameter: str, value: str) -> tuple[Prefix, str]:
    head = value[:2]
    if len(head) < 2 or not head.isalpha():
        return "eq", value
    if head not in _PREFIXES:
        known = ", ".join(_PREFIXES)
        raise SearchError("not-supported", parameter, f"`{parameter}` takes one of the prefixes {known}")
    return _PREFIXES[head], value[2:]


def _measure(parameter: str, value: str) -> QuantityLiteral:
    prefix, value = _prefix(parameter, value)
    if _NUMBER.fullmatch(value) is None:
        raise SearchError("value", parameter, f"`{parameter}` takes a decimal number like `5.4`")
    exact = Decimal(value)
    exponent = exact.as_tuple().exponent
    half = Decimal(5).scaleb(int(exponent) - 1)
    return QuantityLiteral(prefix, exact, exact - half, exact + half)
