"""Hypothesis strategies for requests that an app may send: sensible ones, and what a curious app would try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import quote

from hypothesis import strategies as st

from fhir.r4.definitions import load_definitions
from policies.search_guard import MODIFIERS
from tests.leaks.manners import FAULTS, SHAPES, Manner
from tests.leaks.twin_content import CODES, HIV_CODE, mixed
from tests.leaks.twins import Request
from tests.leaks.whole_requests import READS, whole_requests

_DEFINITIONS: Final = load_definitions()
_TYPES: Final = (
    *("Observation", "Observation", "Observation", "Observation", "Observation", "Observation", "Condition", "Patient"),
    *("DiagnosticReport", "DiagnosticReport", "Encounter", "Practitioner", "Practitioner", "Patient", "Condition"),
    *("Organization", "Provenance", "MedicationRequest", "Binary", "DocumentReference", "DocumentReference"),
    *("Provenance", "MedicationRequest", "Medication", "Media", "Endpoint"),
)
"""Types that are looked at more often stand more often."""
_SORTABLE: Final = frozenset({"date", "string", "token", "number", "quantity", "uri"})
_REFUSED: Final = frozenset({"_tag", "_security", "_source", "_text", "_content"})
_NAMES: Final = sorted(f"{r['resourceType']}/{r['id']}" for r in mixed())
_IDS: Final = sorted({name.partition("/")[2] for name in _NAMES})
_ODD_MODIFIERS: Final = (":text", ":in", ":above", ":identifier", ":of-type", ":Patient", ":iterate", ":", ".name")
_VALUES: Final = {
    "token": [*CODES, HIV_CODE, f"http://loinc.org|{HIV_CODE}", "|x", "final", "laboratory", "vital-signs", "F11.20"],
    "date": ["2026-03", "gt2026-06-01", "le2026-12", "ne2026", "sa2026-02-10", "1980-05-17", "1980", "lt1990"],
    "reference": [*_NAMES[::5], "Patient/ana", "ana", "bob", "Practitioner/doc3", "doc1", "doc2"],
    "string": ["Ana", "Bob", "Doc", "d", "Clinic", "Q", "é"],
    "number": ["1", "gt0", "1e2"],
    "quantity": ["3", "gt2|http://unitsofmeasure.org|g", "lt10||g", "5.0"],
    "uri": ["http://example.org/withheld", "urn:x"],
    "composite": ["718-7$gt1", "75622-1$1"],
    "special": ["x", "code eq x"],
}


def _searched(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """A parameter of the type with a value that may suit it."""
    known = [p for p in _DEFINITIONS.search_parameters(kind).values() if p.kind in MODIFIERS and p.code not in _REFUSED]
    known.sort(key=lambda parameter: parameter.code)

    @cache
    def used(code: str, parameter_kind: str) -> st.SearchStrategy[tuple[str, str]]:
        values = st.lists(st.sampled_from(_VALUES[parameter_kind]), min_size=1, max_size=2, unique=True).map(",".join)
        modifiers = st.sampled_from(["", "", *sorted(MODIFIERS[parameter_kind] - {"missing"})])
        plain = st.tuples(modifiers.map(lambda modifier: f"{code}:{modifier}".rstrip(":")), values)
        return st.one_of(plain, plain, plain, st.tuples(st.just(f"{code}:missing"), st.sampled_from(["true", "false"])))

    return st.sampled_from(known).flatmap(lambda parameter: used(parameter.code, parameter.kind))


def _controls(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """`_count`, `_sort`, `_elements` and the like, as they should be."""
    known = sorted(p.code for p in _DEFINITIONS.search_parameters(kind).values() if p.kind in _SORTABLE)
    elements = sorted(_DEFINITIONS.children(kind, ""))
    signed = st.tuples(st.sampled_from(["", "-"]), st.sampled_from([*known, "_id", "_id"])).map("".join)
    listed = st.lists(signed, min_size=1, max_size=2).map(",".join)
    named = st.lists(st.sampled_from(elements), min_size=1, max_size=3).map(",".join)
    fixed = [("_summary", "true"), ("_summary", "false"), ("_total", "accurate"), ("_total", "none")]
    count = st.tuples(st.just("_count"), st.sampled_from(["1", "2", "3", "7", "13", "14", "200"]))
    return st.one_of(
        count,
        count,
        st.tuples(st.just("_sort"), listed),
        st.tuples(st.just("_elements"), named),
        st.tuples(st.just("_id"), st.lists(st.sampled_from(_IDS), min_size=1, max_size=8).map(",".join)),
        st.sampled_from(fixed),
    )


def every_parameter(kind: str) -> list[str]:
    """Each parameter of the type with all values at once that might be found, and sorts by each."""
    known = sorted(_DEFINITIONS.search_parameters(kind).values(), key=lambda parameter: parameter.code)
    found = [f"{kind}?{_written([(p.code, ','.join(_VALUES[p.kind]))])}" for p in known]
    return found + [f"{kind}?_sort={p.code}" for p in known]


def _odd(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """What should be refused, or be no different from nothing."""
    names = sorted(_DEFINITIONS.search_parameters(kind))
    modified = st.tuples(st.sampled_from(names), st.sampled_from(_ODD_MODIFIERS)).map("".join)
    values = st.sampled_from([*(v for values in _VALUES.values() for v in values), "", "true", "2026-13", "%"])
    fixed = [
        *(("_summary", "count"), ("_summary", "text"), ("_total", "x"), ("_count", "0"), ("_count", "x")),
        *(("_contained", "both"), ("_list", "1"), ("_page", "x"), ("unheard", "x"), ("_include", "*")),
        *(("_include:iterate", "Observation:subject"), ("_revinclude", "Provenance:target"), ("_format", "xml")),
    ]
    return st.one_of(st.tuples(modified, values), st.tuples(st.sampled_from(names), values), st.sampled_from(fixed))


def _includes(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """What the type refers to, and what refers to it."""
    own = [f"{kind}:{p.code}" for p in _DEFINITIONS.search_parameters(kind).values() if p.kind == "reference"]
    back = [
        f"{source}:{p.code}"
        for source in sorted(set(_TYPES))
        for p in _DEFINITIONS.search_parameters(source).values()
        if p.kind == "reference" and kind in p.targets
    ]
    targets = st.sampled_from(["", "", "", ":Practitioner", ":Patient", ":Observation", ":Group"])
    asked = [("_include", value) for value in sorted(own)] + [("_revinclude", value) for value in back]
    return st.tuples(st.sampled_from(asked or [("_include", "*")]), targets).map(
        lambda pair: (pair[0][0], pair[0][1] + pair[1])
    )


def _written(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe=':')}={quote(value, safe='')}" for name, value in pairs)


@cache
def _searches(kind: str) -> st.SearchStrategy[Request]:
    usual = [_controls(kind), _controls(kind), _searched(kind), _includes(kind)]
    pairs = st.lists(st.one_of(*usual, *usual, *usual, _odd(kind)), max_size=3).map(_written)
    heads = st.sampled_from([*[False] * 19, True])
    by_get = st.tuples(pairs, heads).map(
        lambda asked: Request(f"{kind}?{asked[0]}" if asked[0] else kind, head=asked[1])
    )
    by_form = st.tuples(pairs, pairs).map(lambda both: Request(f"{kind}?{both[0]}" if both[0] else kind, both[1]))
    return st.one_of(by_get, by_get, by_get, by_get, by_form)


_SEARCHES: Final = st.sampled_from(_TYPES).flatmap(_searches)
REQUESTS: Final = st.one_of(_SEARCHES, _SEARCHES, _SEARCHES, READS, whole_requests(_SEARCHES))

_ODD_MANNERS: Final = [Manner(shape, fault) for shape in SHAPES for fault in ("", *FAULTS)][1:]
_MANNERS: Final = st.sampled_from([*[Manner()] * 2 * len(_ODD_MANNERS), *_ODD_MANNERS])
_ONCE: Final = st.tuples(_MANNERS)
_AGAIN: Final = (st.lists(_MANNERS, min_size=2, max_size=3), _MANNERS.map(lambda manner: [manner] * 4))
"""Also in one manner: what comes the third time is known."""
_SOME: Final = (
    ("laboratory",),
    ("demographics", "conditions", "documents", "medications"),
    ("demographics", "imaging"),
)
_DECISIONS: Final = st.sampled_from([()] * 30 + [*_SOME])


@dataclass(frozen=True, slots=True)
class Step:
    """A request that is asked once in each manner of the upstream."""

    request: Request
    manners: Sequence[Manner]
    before: tuple[str, ...]
    """What is shared from here on; empty for no change."""
    between: tuple[str, ...]
    """Likewise, behind the first page."""


STEPS: Final = st.builds(
    Step,
    REQUESTS,
    # Of alternatives that are alike `one_of` takes one.
    st.sampled_from([*[_ONCE] * 8, *_AGAIN]).flatmap(lambda asked: asked),
    _DECISIONS,
    _DECISIONS,
)
