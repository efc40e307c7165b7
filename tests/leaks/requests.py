"""Hypothesis strategies for requests that an app may send: sensible ones, and what a curious app would try."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from hypothesis import strategies as st

from fhir.definitions import load_definitions
from tests.leaks.twin_content import CODES, HIV_CODE, mixed
from tests.leaks.twins import Request

_DEFINITIONS: Final = load_definitions()
_TYPES: Final = (
    *("Observation", "Observation", "Observation", "Condition", "DiagnosticReport", "Encounter", "Patient"),
    *("Practitioner", "Organization", "Provenance", "MedicationRequest", "Group", "Binary"),
)
"""Types that are looked at more often stand more often."""
_NAMES: Final = sorted(f"{r['resourceType']}/{r['id']}" for r in mixed())
_IDS: Final = sorted({name.partition("/")[2] for name in _NAMES})
_COUNTS: Final = st.sampled_from(["1", "2", "3", "7", "50", "200", "0", "-1", "x", ""])
_MODIFIERS: Final = ("", "", "", "", ":not", ":missing", ":exact", ":contains", ":text", ":in", ":above", ":identifier")
_VALUES: Final = {
    "token": [*CODES, HIV_CODE, f"http://loinc.org|{HIV_CODE}", "|x", "final", "laboratory", "vital-signs", "F11.20"],
    "date": ["2026-03", "gt2026-06-01", "le2026-12", "ne2026", "sa2026-02-10", "ap2026-07", "1980-05-17", "2026-13"],
    "reference": [*_NAMES[::5], "Patient/ana", "ana", "bob", "Practitioner/doc3", "doc1", "http://elsewhere/Patient/x"],
    "string": ["Ana", "Bob", "Doc", "d", "Clinic", "é", "%"],
    "number": ["1", "gt0", "1e2"],
    "quantity": ["3", "gt2|http://unitsofmeasure.org|g", "lt10||g", "5.0"],
    "uri": ["http://example.org/withheld", "urn:x"],
    "composite": ["718-7$gt1", "75622-1$1"],
    "special": ["x", "code eq x"],
}


def _searched(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """A parameter of the type, with a modifier and a value that may suit it."""
    known = sorted(_DEFINITIONS.search_parameters(kind).values(), key=lambda parameter: parameter.code)

    def used(code: str, parameter_kind: str) -> st.SearchStrategy[tuple[str, str]]:
        values = st.lists(st.sampled_from(_VALUES[parameter_kind]), min_size=1, max_size=3, unique=True).map(",".join)
        either = st.one_of(values, values, values, st.sampled_from(["true", "false", ""]))
        return st.tuples(st.sampled_from(_MODIFIERS).map(lambda modifier: code + modifier), either)

    return st.sampled_from(known).flatmap(lambda parameter: used(parameter.code, parameter.kind))


def _controls(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """`_count`, `_sort`, `_elements` and the like."""
    known = sorted(_DEFINITIONS.search_parameters(kind))
    elements = sorted(_DEFINITIONS.children(kind, ""))
    signed = st.tuples(st.sampled_from(["", "-"]), st.sampled_from(known)).map("".join)
    listed = st.lists(signed, min_size=1, max_size=2).map(",".join)
    named = st.lists(st.sampled_from(elements), min_size=1, max_size=3).map(",".join)
    fixed = [
        *(("_summary", v) for v in ("true", "false", "count", "text", "data")),
        *(("_total", v) for v in ("none", "estimate", "accurate", "x")),
        *(("_format", "json"), ("_contained", "both"), ("_list", "1"), ("_page", "x"), ("unheard", "x")),
    ]
    return st.one_of(
        st.tuples(st.just("_count"), _COUNTS),
        st.tuples(st.just("_sort"), listed),
        st.tuples(st.just("_elements"), named),
        st.tuples(st.just("_id"), st.lists(st.sampled_from(_IDS), min_size=1, max_size=8).map(",".join)),
        st.sampled_from(fixed),
    )


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
    odd = [("_include", "*"), ("_include:iterate", "Observation:subject"), ("_revinclude", "Provenance:target")]
    return st.tuples(st.sampled_from(asked or odd), targets).map(lambda pair: (pair[0][0], pair[0][1] + pair[1]))


def _written(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe=':')}={quote(value, safe='')}" for name, value in pairs)


def _searches(kind: str) -> st.SearchStrategy[Request]:
    pairs = st.lists(st.one_of(_controls(kind), _includes(kind), _searched(kind)), max_size=3).map(_written)
    by_get = pairs.map(lambda query: Request(f"{kind}?{query}" if query else kind))
    by_form = st.tuples(pairs, pairs).map(lambda both: Request(f"{kind}?{both[0]}" if both[0] else kind, both[1]))
    return st.one_of(by_get, by_get, by_get, by_form)


def _reads() -> st.SearchStrategy[Request]:
    tails = st.sampled_from(["", "", "/_history/1", "/_history/2", "?_summary=true", "?_elements=id", "?_sort=date"])
    return st.tuples(st.sampled_from(_NAMES), tails).map(lambda pair: Request("".join(pair)))


REQUESTS: Final = st.one_of(
    st.sampled_from(_TYPES).flatmap(_searches), st.sampled_from(_TYPES).flatmap(_searches), _reads()
)
