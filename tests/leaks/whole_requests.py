"""Hypothesis strategies for what isn't a search of one type: reads, histories, contents, `$everything`, batches."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import strategies as st

from tests.leaks.twin_content import mixed
from tests.leaks.twins import Request

_NAMES: Final = sorted(f"{r['resourceType']}/{r['id']}" for r in mixed())
_VERSIONED: Final = ["Observation/lab05", "Observation/lab06", "Observation/relabelled", "Observation/gone"]
_BINARIES: Final = [*(name for name in _NAMES if name.startswith("Binary/")), "Binary/nothing"]
_IDS: Final = sorted({name.partition("/")[2] for name in _NAMES})
_KINDS: Final = (
    *("Patient", "Condition", "Observation", "Encounter", "DiagnosticReport", "DocumentReference"),
    *("Observation", "Condition", "Procedure", "MedicationRequest", "Media"),
)
_ODD_KINDS: Final = ("Binary", "Group", "AuditEvent", "Practitioner", "Provenance", "Nonsense", "")
_PAIRS: Final = (
    *("_count=1", "_count=2", "_count=5", "_count=13", "_count=200", "_format=json", "_count=0", "_summary=true"),
    *("_since=2026-01-01T00:00:00Z", "_since=2025-12-31T23:59:59Z", "_since=2026-01-01T00:00:01Z", "_since=2026"),
)

_kinds = st.lists(st.sampled_from([*_KINDS, *_KINDS, *_ODD_KINDS]), min_size=1, max_size=4)
_typed = st.lists(st.sampled_from(_KINDS), min_size=1, max_size=4).map(",".join)
_types = st.one_of(_typed, _typed, _typed, _kinds.map(",".join)).map("_type={}".format)
_pairs = st.lists(st.sampled_from(_PAIRS), max_size=2)
_ids = st.lists(st.sampled_from(_IDS), min_size=1, max_size=8).map(lambda ids: f"_id={','.join(ids)}")


def _asked(path: str, pairs: list[str]) -> Request:
    return Request(f"{path}?{'&'.join(pairs)}" if pairs else path)


_tails = st.sampled_from(["", "", "/_history/1", "/_history/2", "?_summary=true", "?_elements=id", "?_sort=date"])
_known = st.sampled_from(["", "", "", "", 'W/"1"', "*"])
_heads = st.sampled_from([False, False, False, False, False, True])
READS: Final = st.tuples(st.sampled_from(_NAMES), _tails, _heads, _known).map(
    lambda asked: Request("".join(asked[:2]), head=asked[2], known=asked[3])
)
_histories = st.tuples(st.sampled_from([*_VERSIONED * 8, *_NAMES]), _pairs).map(
    lambda pair: _asked(f"{pair[0]}/_history", pair[1])
)
_contents = st.tuples(
    st.sampled_from(_BINARIES), st.sampled_from(["*/*", "*/*", "application/fhir+json", "text/plain"])
).map(lambda pair: Request(pair[0], accept=pair[1]))
_everything = st.tuples(
    st.sampled_from(["ana", "ana", "ana", "ana", "bob", "zoe", "nobody"]),
    st.one_of(st.just([]), _types.map(lambda types: [types])),
    _pairs,
).map(lambda given: _asked(f"Patient/{given[0]}/$everything", given[1] + given[2]))
_system = st.tuples(_types, st.one_of(st.just([]), _ids.map(lambda ids: [ids])), _pairs).map(
    lambda given: _asked("", [given[0], *given[1], *given[2]])
)


def _batch(entries: list[tuple[str, Request]]) -> Request:
    told = [{"request": {"method": method, "url": request.path}} for method, request in entries]
    return Request("", body=json.dumps({"resourceType": "Bundle", "type": "batch", "entry": told}))


def whole_requests(searches: st.SearchStrategy[Request]) -> st.SearchStrategy[Request]:
    """All of them; `searches` are such as a batch may hold too."""
    singles = st.one_of(READS, READS, _histories, _contents, searches)
    method = st.sampled_from(["GET"] * 9 + ["PUT"])
    batches = st.lists(st.tuples(method, singles), max_size=4).map(_batch)
    return st.one_of(_histories, _contents, _everything, _everything, _system, batches)
