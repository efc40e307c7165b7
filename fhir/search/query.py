"""What a FHIR search asks, as a value: `parse_search` reads the parameters of one search or refuses them by name.

FHIR R4 §3.1.1. Nothing is ignored: a parameter, modifier, prefix or value that is not understood is a `SearchError`,
since leaving a condition out would answer with more than was asked for. How the question is put to the database is
`fhir.store.search_sql`'s part; how values are spelled, `fhir.search.literals`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from fhir.r4.definitions import Definitions, SearchParameter
from fhir.search.literals import (
    Literals,
    SearchError,
    TokenLiteral,
    read_date,
    read_number,
    read_quantity,
    read_reference,
    read_string,
    read_token,
    read_uri,
    split_escaped,
)
from fhir.search.result_parameters import (
    CURSOR,
    RESULT_PARAMETERS,
    Include,
    Kind,
    Reading,
    SortKey,
    Summary,
    Total,
    choice,
    quoted,
    supported_parameter,
    targets_of,
)

__all__ = ["CURSOR", "Condition", "Include", "SearchError", "SearchQuery", "SortKey", "parse_search"]

MAX_PARAMETERS: Final = 64
MAX_VALUES: Final = 500
"""Values in all conditions of one search together."""
MAX_LENGTH: Final = 16_384
"""Characters of all names and values of one search together."""
MAX_CHAINED_TYPES: Final = 8
DEFAULT_COUNT: Final = 50

MODIFIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "token": ("not", "text", "missing"),
    "reference": ("identifier", "missing"),
    "date": ("missing",),
    "string": ("exact", "contains", "missing"),
    "number": ("missing",),
    "quantity": ("missing",),
    "uri": ("below", "missing"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One repetition of a parameter: any of its values has to hold; all conditions of a search have to hold."""

    code: str
    kind: Kind
    modifier: str = ""
    """`missing`, `not`, `exact`, … or the resource type to which a reference is narrowed; empty for none."""
    values: tuple[Literals, ...] = ()
    missing: bool | None = None
    targets: tuple[str, ...] = ()
    """For a reference: the type that its modifier narrows it to; none means any that it may point to."""
    chained: tuple[tuple[str, Condition], ...] = ()
    """For a chain: per type pointed to, what has to hold there; any of them has to."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search on one resource type. `parameters` are those understood, the cursor apart, for the self link."""

    resource_type: str
    count: int
    conditions: tuple[Condition, ...] = ()
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    summary: Summary = "false"
    elements: tuple[str, ...] = ()
    total: Total | None = None
    cursor: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


def parse_search(
    resource_type: str,
    params: Sequence[tuple[str, str]],
    definitions: Definitions,
    *,
    max_count: int,
    base_url: str = "",
) -> SearchQuery:
    """The search that `params`, decoded, ask for on a resource type that R4 knows. Raises `SearchError` only.

    `max_count` bounds the page, however large `_count` is; `base_url` is this server's, under which absolute
    references are local.
    """
    _check_size(resource_type, params, definitions)
    reading = Reading(resource_type, definitions, base_url, max_count, min(DEFAULT_COUNT, max_count))
    seen: set[str] = set()
    conditions: list[Condition] = []
    for name, value in params:
        reader = RESULT_PARAMETERS.get(name)
        if reader is None:
            conditions.append(_condition(reading, resource_type, name, value))
            continue
        if name in seen and name not in ("_include", "_revinclude"):
            raise SearchError("invalid", name, f"`{name}` is given twice; give it once")
        seen.add(name)
        reader(reading, name, value)
    _check_combination(reading)
    return SearchQuery(
        resource_type=resource_type,
        count=reading.count,
        conditions=tuple(conditions),
        sort=reading.sort,
        includes=tuple(reading.includes),
        revincludes=tuple(reading.revincludes),
        summary=reading.summary,
        elements=reading.elements,
        total=reading.total,
        cursor=reading.cursor,
        parameters=tuple((name, value) for name, value in params if name != CURSOR),
    )


def _check_size(resource_type: str, params: Sequence[tuple[str, str]], definitions: Definitions) -> None:
    if resource_type not in definitions.resource_types:
        raise SearchError("not-supported", "", f"`{quoted(resource_type)}` is not a resource type of FHIR R4")
    if len(params) > MAX_PARAMETERS or sum(len(name) + len(value) for name, value in params) > MAX_LENGTH:
        raise SearchError(
            "too-long", "", f"a search takes {MAX_PARAMETERS} parameters and {MAX_LENGTH} characters at most"
        )


def _check_combination(reading: Reading) -> None:
    if reading.elements and reading.summary != "false":
        raise SearchError("invalid", "_elements", "`_elements` and `_summary` exclude each other; give one")
    if reading.summary == "text" and (reading.includes or reading.revincludes):
        raise SearchError("invalid", "_summary", "`_summary=text` can't be combined with includes")  # §3.1.1.5.9


def _condition(reading: Reading, resource_type: str, name: str, value: str) -> Condition:
    head, chained, rest = name.partition(".")
    code, colon, modifier = head.partition(":")
    parameter = supported_parameter(reading, resource_type, code)
    if colon and not modifier:
        raise SearchError("not-supported", code, f"`{code}:` has no modifier behind its colon; leave the colon out")
    if chained:
        return _chain(reading, parameter, name, modifier, rest, value)
    kind = cast(Kind, parameter.kind)
    if modifier == "missing":
        if code in ("_id", "_lastUpdated"):
            raise SearchError("not-supported", name, f"`{code}` is never missing; leave `:missing` out")
        return Condition(code, kind, "missing", missing=choice(name, value, {"true": True, "false": False}))
    narrowed = _narrowed(parameter, name, modifier)
    if modifier and not narrowed and modifier not in MODIFIERS[kind]:
        raise SearchError("not-supported", name, f"modifier `{quoted(modifier)}` is not supported for `{code}`")
    if code == "_id" and modifier == "text":
        raise SearchError("not-supported", name, "modifier `text` is not supported for `_id`")
    texts = split_escaped(name, value, ",")
    reading.values += len(texts)
    if reading.values > MAX_VALUES:
        raise SearchError("too-costly", name, f"a search takes {MAX_VALUES} values at most")
    read = _reader(kind, "type" if narrowed else modifier, reading.base_url)
    literals = tuple(dict.fromkeys(read(name, text) for text in texts))
    if code == "_id" and any(isinstance(literal, TokenLiteral) and literal.system for literal in literals):
        raise SearchError("value", name, "`_id` takes logical ids without a system")
    return Condition(code, kind, modifier, literals, targets=narrowed)


def _narrowed(parameter: SearchParameter, name: str, modifier: str) -> tuple[str, ...]:
    """The type that a reference's modifier narrows it to (`subject:Patient`)."""
    if parameter.kind != "reference" or not modifier[:1].isupper():
        return ()
    targets = targets_of(parameter)
    if targets and modifier not in targets:
        raise SearchError(
            "not-supported", name, f"`{parameter.code}` does not point to a resource of type `{quoted(modifier)}`"
        )
    return (modifier,)


def _reader(kind: Kind, modifier: str, base_url: str) -> Callable[[str, str], Literals]:
    if modifier == "text":
        return read_string
    if modifier == "identifier":
        return read_token
    if kind == "reference":
        return lambda name, text: read_reference(name, text, base_url)
    readers: Mapping[str, Callable[[str, str], Literals]] = {
        "token": read_token,
        "date": read_date,
        "string": read_string,
        "number": read_number,
        "quantity": read_quantity,
        "uri": read_uri,
    }
    return readers[kind]


def _chain(reading: Reading, parameter: SearchParameter, name: str, modifier: str, rest: str, value: str) -> Condition:
    """`subject:Patient.name=…`: one step, to each type that the reference points to and that knows the parameter."""
    if parameter.kind != "reference":
        raise SearchError("not-supported", name, f"`{parameter.code}` is not a reference and can't be chained")
    if "." in rest:
        raise SearchError("not-supported", name, f"`{quoted(name)}` chains over more than one reference")
    narrowed = _narrowed(parameter, name, modifier)
    if modifier and not narrowed:
        raise SearchError("not-supported", name, f"modifier `{quoted(modifier)}` is not supported in a chain")
    code = rest.partition(":")[0]
    targets = narrowed or targets_of(parameter)
    if not targets:
        raise SearchError("invalid", name, f"`{parameter.code}` points to any type; say which: `{parameter.code}:Type`")
    known = [t for t in targets if t in reading.definitions.resource_types]
    fit = [t for t in known if code in reading.definitions.search_parameters(t)]
    if not fit:
        raise SearchError("not-supported", name, f"`{quoted(code)}` is not a search parameter of {', '.join(targets)}")
    if len(fit) > MAX_CHAINED_TYPES:
        raise SearchError(
            "too-costly", name, f"`{parameter.code}` points to many types; say which: `{parameter.code}:Type`"
        )
    chained = tuple((t, _condition(reading, t, rest, value)) for t in fit)
    return Condition(parameter.code, "reference", chained=chained)
