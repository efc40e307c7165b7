"""What a search parameter finds in a resource: typed values, ready to be compared or indexed.

FHIR R4 §3.1.1.4 says which datatypes each kind of parameter reads and how. Extraction follows the compiled
`SearchPath`s over decoded JSON. Content comes from outside: what is malformed gives no value and never raises.
Comparing is left to whoever searches. Not read: SampledData, `Quantity.comparator`, composite parameters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir.r4.definitions import Definitions, SearchParameter, SearchPath
from fhir.search.date_ranges import DateRange, date_range, period_range, timing_range

__all__ = [
    "DateRange",
    "Number",
    "Quantity",
    "Ref",
    "SearchValue",
    "Text",
    "Token",
    "Uri",
    "find_by_path",
    "index",
    "normalized_text",
    "values_of",
]


@dataclass(frozen=True, slots=True)
class Token:
    """A code within a system; `system` is empty where none is given. `text` is what the `:text` modifier looks at."""

    system: str
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference: to a resource of this server (`type`, `id`), to a `url`, by a business identifier, or several.

    An absolute url is only ever `url`: whether it means this server is for the caller to say.
    """

    type: str = ""
    id: str = ""
    url: str = ""
    identifier_system: str = ""
    identifier_value: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A string as it stands, and as it is compared."""

    value: str
    normalized: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number; `low` and `high` are equal: a resource's number is taken as exact."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity, or a Range with both its ends; both ends belong to it."""

    low: Decimal
    high: Decimal
    system: str
    code: str
    unit: str


@dataclass(frozen=True, slots=True)
class Uri:
    """A uri, url, canonical or oid as it stands."""

    value: str


SearchValue = Token | Ref | DateRange | Text | Number | Quantity | Uri
_Reader = Callable[[object, SearchPath], Iterable[SearchValue]]

_LOCAL_REFERENCE: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.\-]{1,64})", re.ASCII)
_HISTORY: Final = re.compile(r"/_history/[^/]*\Z")
_CURRENCIES: Final = "urn:iso:std:iso:4217"
_NAME_PARTS: Final = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS: Final = ("text", "line", "city", "district", "state", "postalCode", "country")
_MAX_EXPONENT: Final = 100
"""Numbers beyond 10^±100 measure nothing, and writing them out could fill a disk."""


def find_by_path(resource: Mapping[str, object], path: SearchPath) -> Sequence[object]:
    """Everything that stands at a path, arrays flattened at every step; `path.target` isn't looked at."""
    found: Sequence[object] = (resource,)
    for at, step in enumerate(path.steps):
        found = [item for node in found if isinstance(node, dict) for item in _items(node.get(step))]
        if not found:
            return found
        for place, below, wanted in path.where:
            if place == at:
                found = [item for item in found if wanted in _strings_below(item, below.split("."))]
    return found


def values_of(
    resource: Mapping[str, object], parameter: SearchParameter, definitions: Definitions
) -> Iterator[SearchValue]:
    """Distinct values of a parameter of the resource's own type, in the order in which they stand."""
    if any(path.exists for path in parameter.paths):
        items = (item for path in parameter.paths for item in find_by_path(resource, path))
        yield Token("", "true" if any(item is not False for item in items) else "false")
        return
    yield from dict.fromkeys(_values(resource, parameter, definitions))


def index(resource: Mapping[str, object], definitions: Definitions) -> list[tuple[str, SearchValue]]:
    """(parameter code, value) for all parameters of the resource's type; nothing for a type that R4 doesn't have."""
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in definitions.resource_types:
        return []
    parameters = definitions.search_parameters(resource_type)
    return [(p.code, value) for p in parameters.values() for value in values_of(resource, p, definitions)]


def normalized_text(value: str) -> str:
    """A string as string searches compare it: without case, accents and doubled white space (FHIR R4 §3.1.1.4.6)."""
    plain = (c for c in unicodedata.normalize("NFKD", value.casefold()) if not unicodedata.combining(c))
    return " ".join("".join(plain).casefold().split())


def _values(
    resource: Mapping[str, object], parameter: SearchParameter, definitions: Definitions
) -> Iterator[SearchValue]:
    for path in parameter.paths:
        read = _READERS.get((parameter.kind, path.type))
        if read is None or path.steps[0] not in resource:
            continue
        for item in find_by_path(resource, path):
            if path.target is None or _resolved_type(item, definitions) == path.target:
                yield from read(item, path)


def _items(value: object) -> Iterable[object]:
    if isinstance(value, list):
        return [item for item in value if item is not None]
    return () if value is None else (value,)


def _strings_below(value: object, names: list[str]) -> list[str]:
    found = [value]
    for name in names:
        found = [item for node in found if isinstance(node, Mapping) for item in _items(node.get(name))]
    return [item for item in found if isinstance(item, str)]


def _text(value: object, name: str | None = None) -> str:
    """A string, or the string member `name` of an object; empty where there is none that UTF-8 and SQL can hold."""
    if name is not None:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, str) or "\x00" in value:
        return ""
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        return ""
    return value


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _MAX_EXPONENT else None


# Tokens (§3.1.1.4.10)


def _coding(value: object, path: SearchPath) -> Iterator[Token]:
    token = Token(_text(value, "system"), _text(value, "code"), _text(value, "display"))
    if token.code or token.text:
        yield token


def _concept(value: object, path: SearchPath) -> Iterator[Token]:
    if not isinstance(value, Mapping):
        return
    for coding in _items(value.get("coding")):
        yield from _coding(coding, path)
    if text := _text(value, "text"):
        yield Token("", "", text)


def _identifier(value: object, path: SearchPath) -> Iterator[Token]:
    if code := _text(value, "value"):
        kind = value.get("type") if isinstance(value, Mapping) else None
        yield Token(_text(value, "system"), code, _text(kind, "text"))


def _contact_point(value: object, path: SearchPath) -> Iterator[Token]:
    if code := _text(value, "value"):
        yield Token("", code)


def _code(value: object, path: SearchPath) -> Iterator[Token]:
    if code := _text(value):
        yield Token(path.system, code)


def _boolean(value: object, path: SearchPath) -> Iterator[Token]:
    if isinstance(value, bool):
        yield Token("", "true" if value else "false")


# References (§3.1.1.4.12)


def _reference(value: object, path: SearchPath) -> Iterator[Ref]:
    literal = _HISTORY.sub("", _text(value, "reference"))
    if literal.startswith("#"):
        return  # a contained resource can't be searched for from outside
    identifier = value.get("identifier") if isinstance(value, Mapping) else None
    system, code = _text(identifier, "system"), _text(identifier, "value")
    local = _LOCAL_REFERENCE.fullmatch(literal)
    if local is not None:
        yield Ref(local[1], local[2], "", system, code)
    elif literal or code:
        yield Ref("", "", literal, system, code)


def _canonical(value: object, path: SearchPath) -> Iterator[Ref]:
    if url := _text(value):
        yield Ref(url=url)
        plain, _, version = url.partition("|")
        if version and plain:
            yield Ref(url=plain)  # a search without a version finds every version


def _resolved_type(value: object, definitions: Definitions) -> str:
    """The type that `resolve()` would find, as far as the reference itself says; empty if it doesn't."""
    parts = _HISTORY.sub("", _text(value, "reference")).split("/")
    if len(parts) >= 2 and parts[-2] in definitions.resource_types:
        return parts[-2]
    return _text(value, "type")


# Dates, strings, numbers, uris


def _date(value: object, path: SearchPath) -> Iterator[DateRange]:
    read = {"Period": period_range, "Timing": timing_range}.get(path.type, date_range)
    if found := read(value):
        yield found


def _string(value: object, path: SearchPath) -> Iterator[Text]:
    if text := _text(value):
        yield Text(text, normalized_text(text))


def _parts(names: tuple[str, ...]) -> _Reader:
    """A reader of HumanName or Address: each part is a value of its own (§3.1.1.4.6)."""

    def read(value: object, path: SearchPath) -> Iterator[Text]:
        for name in names if isinstance(value, Mapping) else ():
            for item in _items(value.get(name)) if isinstance(value, Mapping) else ():
                yield from _string(item, path)

    return read


def _number(value: object, path: SearchPath) -> Iterator[Number]:
    if (number := _decimal(value)) is not None:
        yield Number(number, number)


def _quantity(value: object, path: SearchPath) -> Iterator[Quantity]:
    number = _decimal(value.get("value")) if isinstance(value, Mapping) else None
    if number is not None:
        yield Quantity(number, number, _text(value, "system"), _text(value, "code"), _text(value, "unit"))


def _money(value: object, path: SearchPath) -> Iterator[Quantity]:
    for amount in _quantity(value, path):
        currency = _text(value, "currency")
        yield Quantity(amount.low, amount.high, _CURRENCIES if currency else "", currency, currency)


def _range(value: object, path: SearchPath) -> Iterator[Quantity]:
    if isinstance(value, Mapping):
        for low in _quantity(value.get("low"), path):
            for high in _quantity(value.get("high"), path):
                if low.low <= high.high:
                    yield Quantity(low.low, high.high, low.system, low.code, low.unit)


def _uri(value: object, path: SearchPath) -> Iterator[Uri]:
    if text := _text(value):
        yield Uri(text)


_READERS: Final[Mapping[tuple[str, str], _Reader]] = {
    ("token", "Coding"): _coding,
    ("token", "CodeableConcept"): _concept,
    ("token", "Identifier"): _identifier,
    ("token", "ContactPoint"): _contact_point,
    ("token", "boolean"): _boolean,
    **{("token", name): _code for name in ("code", "string", "id", "uri")},
    ("reference", "Reference"): _reference,
    **{("reference", name): _canonical for name in ("canonical", "uri")},
    **{("date", name): _date for name in ("date", "dateTime", "instant", "Period", "Timing")},
    **{("string", name): _string for name in ("string", "markdown")},
    ("string", "HumanName"): _parts(_NAME_PARTS),
    ("string", "Address"): _parts(_ADDRESS_PARTS),
    **{("number", name): _number for name in ("integer", "decimal", "positiveInt", "unsignedInt")},
    **{("quantity", name): _quantity for name in ("Quantity", "Age", "Duration", "Count", "Distance")},
    ("quantity", "Money"): _money,
    ("quantity", "Range"): _range,
    **{("uri", name): _uri for name in ("uri", "url", "canonical", "oid", "uuid")},
}
"""How each datatype is read for each kind of parameter. In step with `fhir.r4.data.compile_expression.INDEXABLE`."""
