"""Parameters that shape the result of a search: how many, in what order, with what else, how much of each.

FHIR R4 §3.1.1.5. Each is read from its text or refused by name; `fhir.search.query` reads the conditions and puts
everything together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar, cast

from fhir.r4.definitions import Definitions, SearchParameter
from fhir.r4.own_types import is_indexed
from fhir.search.literals import SearchError, read_text

CURSOR: Final = "_cursor"
SUPPORTED_KINDS: Final = ("token", "reference", "date", "string", "number", "quantity", "uri")
SORTABLE_KINDS: Final = ("token", "date", "string", "number", "quantity")

_Chosen = TypeVar("_Chosen")
Kind = Literal["token", "reference", "date", "string", "number", "quantity", "uri"]
Summary = Literal["true", "text", "data", "count", "false"]
Total = Literal["none", "accurate", "estimate"]


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `_sort`; resources without a value come last, whatever the direction."""

    code: str
    kind: Kind
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: what `source_type.code` points to, of `target_type` only if that is given."""

    source_type: str
    code: str
    target_type: str | None


@dataclass(slots=True)
class Reading:
    """The search read so far."""

    resource_type: str
    definitions: Definitions
    base_url: str
    max_count: int
    count: int
    values: int = 0
    includes: list[Include] = field(default_factory=list)
    revincludes: list[Include] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    summary: Summary = "false"
    elements: tuple[str, ...] = ()
    total: Total | None = None
    cursor: str | None = None


def supported_parameter(reading: Reading, resource_type: str, code: str) -> SearchParameter:
    if code == "_has":
        raise SearchError("not-supported", "_has", "reverse chaining with `_has` is not supported")
    parameter = reading.definitions.search_parameters(resource_type).get(code)
    if parameter is None or not is_indexed(resource_type, code):
        raise SearchError(
            "not-supported", code, f"`{quoted(code)}` is not a search parameter of {resource_type}; remove it"
        )
    if parameter.kind not in SUPPORTED_KINDS:
        raise SearchError("not-supported", code, f"`{code}` is a {parameter.kind} parameter, which is not supported")
    return parameter


def targets_of(parameter: SearchParameter) -> tuple[str, ...]:
    return () if "Resource" in parameter.targets else parameter.targets


def _read_count(reading: Reading, name: str, value: str) -> None:
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise SearchError("value", name, "`_count` takes a whole number, 0 or more")
    if int(value) == 0:
        reading.summary = "count"  # §3.1.1.5.3: the same as _summary=count
    else:
        reading.count = min(int(value), reading.max_count)


def _read_sort(reading: Reading, name: str, value: str) -> None:
    keys: dict[str, SortKey] = {}
    for text in value.split(","):
        code = text.removeprefix("-")
        parameter = supported_parameter(reading, reading.resource_type, code)
        if parameter.kind not in SORTABLE_KINDS:
            raise SearchError("not-supported", name, f"can't sort by `{code}`, a {parameter.kind} parameter")
        if code in keys:
            raise SearchError("invalid", name, f"`_sort` names `{code}` twice")
        keys[code] = SortKey(code, cast(Kind, parameter.kind), text.startswith("-"))
    if len(keys) > 4:
        raise SearchError("too-costly", name, "`_sort` takes four keys at most")
    reading.sort = tuple(keys.values())


def _read_include(reading: Reading, name: str, value: str) -> None:
    include = _include(reading, name, value)
    if include.source_type != reading.resource_type:
        raise SearchError("not-supported", name, f"`_include` starts at {reading.resource_type}: the type searched for")
    reading.includes.append(include)


def _read_revinclude(reading: Reading, name: str, value: str) -> None:
    include = _include(reading, name, value)
    targets = targets_of(reading.definitions.search_parameters(include.source_type)[include.code])
    here = reading.resource_type
    if include.target_type not in (None, here) or (targets and here not in targets):
        raise SearchError("not-supported", name, f"`{quoted(value)}` does not point to {here}, which is searched for")
    reading.revincludes.append(include)


def _include(reading: Reading, name: str, value: str) -> Include:
    parts = value.split(":")
    if "*" in parts:
        raise SearchError("not-supported", name, f"`{name}` with `*` is not supported; name the parameter")
    if len(parts) not in (2, 3) or parts[0] not in reading.definitions.resource_types:
        raise SearchError("value", name, f"`{name}` takes `Type:parameter` or `Type:parameter:TargetType`")
    parameter = supported_parameter(reading, parts[0], parts[1])
    if parameter.kind != "reference":
        raise SearchError("value", name, f"`{quoted(value)}` is not a reference parameter")
    target = parts[2] if len(parts) == 3 else None
    targets = targets_of(parameter) or reading.definitions.resource_types
    if target is not None and target not in targets:
        raise SearchError("value", name, f"`{parts[1]}` does not point to a resource of type `{quoted(target)}`")
    return Include(parts[0], parts[1], target)


def _read_summary(reading: Reading, name: str, value: str) -> None:
    choices: Mapping[str, Summary] = {
        "true": "true",
        "text": "text",
        "data": "data",
        "count": "count",
        "false": "false",
    }
    summary = choice(name, value, choices)
    # `_count=0` has already asked for the count alone.
    reading.summary = "count" if reading.summary == "count" else summary


def _read_elements(reading: Reading, name: str, value: str) -> None:
    elements = reading.definitions.types[reading.resource_type].elements
    names = tuple(dict.fromkeys(read_text(name, text) for text in value.split(",")))
    for element in names:
        if (element not in elements and f"{element}[x]" not in elements) or "." in element:
            raise SearchError(
                "value", name, f"`{quoted(element)}` is not a top-level element of {reading.resource_type}"
            )
    reading.elements = names


def _read_total(reading: Reading, name: str, value: str) -> None:
    choices: Mapping[str, Total] = {"none": "none", "accurate": "accurate", "estimate": "estimate"}
    reading.total = choice(name, value, choices)


def _read_format(reading: Reading, name: str, value: str) -> None:
    # A `+` that was not percent-encoded arrives as a blank.
    if value.replace(" ", "+").casefold() not in ("json", "application/json", "application/fhir+json"):
        raise SearchError("not-supported", name, "`_format` is `json`: no other format is supported")


def _read_cursor(reading: Reading, name: str, value: str) -> None:
    reading.cursor = value


def choice(name: str, value: str, choices: Mapping[str, _Chosen]) -> _Chosen:
    if value not in choices:
        raise SearchError("value", name, f"`{quoted(name)}` takes one of {', '.join(choices)}")
    return choices[value]


RESULT_PARAMETERS: Final[Mapping[str, Callable[[Reading, str, str], None]]] = {
    "_count": _read_count,
    "_sort": _read_sort,
    "_include": _read_include,
    "_revinclude": _read_revinclude,
    "_summary": _read_summary,
    "_elements": _read_elements,
    "_total": _read_total,
    "_format": _read_format,
    CURSOR: _read_cursor,
}


def quoted(text: str) -> str:
    """A word of the request as it may stand in a message: short and printable."""
    return "".join(c for c in text[:64] if c.isprintable() and c != "`")
