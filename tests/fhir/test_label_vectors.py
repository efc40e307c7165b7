"""Real-world resources are sensitive for the reasons in `tests/vectors/labels.yaml`, and are shared accordingly."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from assent.read_yaml import read_yaml
from fhir.consents.reading import read_consent
from fhir.minimization.facts import FactsReader
from fhir.r4.definitions import load_definitions
from policies.classify import classify
from policies.consent_evaluation import Circumstances, applicable, consent_decision
from policies.decide import grantee_of
from policies.model import Permit, ResourceFacts

CATALOGUE = load_catalogue()
FACTS = FactsReader(load_definitions(), CATALOGUE)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SENSITIVE = {category.code for category in CATALOGUE.sensitive}

_FILE = Path(__file__).parents[1] / "vectors" / "labels.yaml"
CASES: list[dict[str, Any]] = read_yaml(_FILE.read_text(encoding="utf-8"))["cases"]


def _shared_by(facts: ResourceFacts, granted: Collection[str]) -> bool:
    """Whether a consent to all everyday categories and these sensitive ones shares the resource."""
    system = "urn:assent:data-category"
    everyday = [{"system": system, "code": c.code} for c in CATALOGUE.everyday]
    denied = sorted(SENSITIVE - set(granted))
    consent = {
        "resourceType": "Consent",
        "id": "c1",
        "meta": {"versionId": "1"},
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "provision": {
            "type": "permit",
            "class": everyday,
            "provision": [{"type": "deny", "class": [{"system": system, "code": code}]} for code in denied],
        },
    }
    around = Circumstances(
        "p1", frozenset({grantee_of("app")}), "PATRQT", NOW, categories=frozenset(CATALOGUE.categories)
    )
    rules = applicable([read_consent(consent)], around)
    return isinstance(consent_decision(rules, around, facts, classify(facts, CATALOGUE)), Permit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_label_vector(case: dict[str, Any]) -> None:
    assert set(case) == {"name", "sensitive", "resource"}
    facts = FACTS.read(case["resource"])
    sensitive = set(case["sensitive"])
    assert classify(facts, CATALOGUE).everyday, "a resource that no category holds proves nothing"
    assert classify(facts, CATALOGUE).sensitive == sensitive
    assert _shared_by(facts, sensitive)
    assert all(not _shared_by(facts, SENSITIVE - {code}) for code in sensitive)


def test_every_sensitivity_has_vectors_beside_close_ones_that_are_not_sensitive() -> None:
    proven = [code for case in CASES for code in case["sensitive"]]
    assert {code: proven.count(code) >= 4 for code in SENSITIVE} == dict.fromkeys(SENSITIVE, True)
    assert sum(not case["sensitive"] for case in CASES) >= 20
