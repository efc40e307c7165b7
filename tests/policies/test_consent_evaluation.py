"""Consents decide as docs/consent-semantics.md says: named cases, ours and published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.model import Permit
from tests.policies.consents import Vectors, case_facts, circumstances, decide

_FILES = sorted(path.name for path in (Path(__file__).parents[1] / "vectors").glob("consents*.yaml"))
_CASES = [
    pytest.param(vectors, case, id=f"{name.removesuffix('.yaml')}: {case['name']}")
    for name in _FILES
    for vectors in (Vectors(name),)
    for case in vectors.cases
]


@pytest.mark.parametrize(("vectors", "case"), _CASES)
def test_consent_vector(vectors: Vectors, case: dict[str, Any]) -> None:
    decision = decide(vectors.consents_of(case), circumstances(case), case_facts(case["resource"]))
    assert ("permit" if isinstance(decision, Permit) else "deny") == case["expect"]
    if "at" in case:
        assert decision.reasons[0].source.partition("#")[2] == case["at"]
    else:
        assert decision.reasons[0].rule == "default"


@pytest.mark.parametrize("name", _FILES)
def test_every_consent_of_a_vector_file_is_asked_about(name: str) -> None:
    vectors = Vectors(name)
    asked = {case.get("consent") for case in vectors.cases}.union(*(case.get("consents", ()) for case in vectors.cases))
    assert asked - {None} == set(vectors.consents)


def test_vectors_with_a_key_that_nobody_knows_are_refused() -> None:
    vectors = Vectors("consents.yaml")
    with pytest.raises(ValueError, match="expects"):
        vectors.consents_of(vectors.cases[0] | {"expects": "deny"})
    with pytest.raises(ValueError, match="label"):
        case_facts({"type": "Observation", "label": ["HIV"]})
