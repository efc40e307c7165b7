"""Every kind of Observation and report that US Core names belongs to something that can be shared."""

from __future__ import annotations

import pytest

from assent.policy_files import load_catalogue
from policies.classify import classify
from policies.model import Coding, ResourceFacts

CATALOGUE = load_catalogue()
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
SERVICE = "http://terminology.hl7.org/CodeSystem/v2-0074"
LOINC = "http://loinc.org"


def everyday(kind: str, *categories: tuple[str, str]) -> frozenset[str]:
    """The everyday categories of a resource whose `category` is this."""
    codings = frozenset(Coding(system, code) for system, code in categories)
    return classify(ResourceFacts(kind, "r1", tokens={"category": codings}), CATALOGUE).everyday


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        # ValueSets us-core-clinical-result-, -screening-assessment- and -simple-observation-category, US Core 9.0.0
        (OBSERVATION, "laboratory", "laboratory"),
        (OBSERVATION, "vital-signs", "vital-signs"),
        (OBSERVATION, "imaging", "imaging"),
        (OBSERVATION, "procedure", "procedures"),
        (OBSERVATION, "exam", "procedures"),
        (OBSERVATION, "therapy", "procedures"),
        (OBSERVATION, "social-history", "social-history"),
        (OBSERVATION, "survey", "social-history"),
        (OBSERVATION, "activity", "social-history"),
        (US_CORE, "sdoh", "social-history"),
        (US_CORE, "functional-status", "social-history"),
        (US_CORE, "disability-status", "social-history"),
        (US_CORE, "cognitive-status", "social-history"),
        (US_CORE, "treatment-intervention-preference", "care-plans"),
        (US_CORE, "care-experience-preference", "care-plans"),
        (US_CORE, "observation-adi-documentation", "care-plans"),
    ],
)
def test_each_kind_of_observation_is_in_one_category(system: str, code: str, expected: str) -> None:
    assert everyday("Observation", (system, code)) == {expected}


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        # ValueSet us-core-diagnosticreport-category, US Core 9.0.0; what laboratories and radiologists use of v2-0074
        (LOINC, "LP29684-5", "documents"),
        (LOINC, "LP29708-2", "documents"),
        (LOINC, "LP7839-6", "documents"),
        *((SERVICE, code, "laboratory") for code in ("LAB", "CH", "HM", "MB", "PAT", "SP")),
        *((SERVICE, code, "imaging") for code in ("RAD", "IMG", "CT", "NMR", "NMS", "RX", "RUS", "CUS", "VUS")),
    ],
)
def test_each_kind_of_report_is_in_one_category(system: str, code: str, expected: str) -> None:
    assert everyday("DiagnosticReport", (system, code)) == {expected}


def test_an_observation_of_several_kinds_is_in_each_of_their_categories() -> None:
    assert everyday("Observation", (OBSERVATION, "survey"), (OBSERVATION, "exam")) == {"social-history", "procedures"}


@pytest.mark.parametrize("category", [(), (("http://example.org", "exam"),), ((OBSERVATION, "unheard-of"),)])
def test_what_says_no_kind_that_is_known_is_in_none(category: tuple[tuple[str, str], ...]) -> None:
    assert everyday("Observation", *category) == frozenset()
    assert everyday("DiagnosticReport", *category) == frozenset()
