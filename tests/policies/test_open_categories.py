"""Which categories count as open: more than is, never less, since searches are held to them and scopes made of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fhir.consents.reading import read_consent
from policies.classify import classify
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.consent_evaluation import Circumstances
from policies.decide import grantee_of
from policies.model import Coding, Permit, ResourceFacts
from policies.open_categories import open_categories
from tests.policies import generated_consents as generated
from tests.policies.consents import CATALOGUE, NOW, case_facts, decide
from tests.policies.generated_consents import Tree, r4

_ANY = {"type": "permit"}
_PROFILE = [{"system": "urn:ietf:rfc:3986", "code": "http://example.org/lab"}]
_OBSERVATIONS = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
_SINCE = {"start": "2025"}
_LOW = (CONFIDENTIALITY_SYSTEM, "L")
_NORMAL = [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}]
_HIV = [{"system": "urn:assent:data-category", "code": "hiv"}]
_ONE = [{"meaning": "instance", "reference": {"reference": "Observation/x"}}]
_OLD = case_facts({"type": "Observation", "category": "laboratory", "date": "2024"})
_NEW = case_facts({"type": "Observation", "category": "laboratory", "date": "2026-01"})
_AROUND = Circumstances("p1", frozenset({grantee_of("app")}), "TREAT", NOW, categories=CATALOGUE.codes)


def _consent(provision: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "provision": provision,
    }


def _opened(consents: list[Any], among: Collection[str], around: Circumstances = _AROUND) -> set[str]:
    rules = [read_consent(consent) for consent in consents]
    asked = [CATALOGUE.categories[code] for code in among]
    return {category.code for category in open_categories(rules, around, CATALOGUE, asked)}


@pytest.mark.parametrize(
    ("provisions", "facts"),
    [
        ([{"type": "permit", "class": _PROFILE}], replace(_OLD, profiles=frozenset({"http://example.org/lab"}))),
        ([{"type": "permit", "class": _HIV}], replace(_OLD, labels=frozenset({Coding(ACT_CODE_SYSTEM, "HIV")}))),
        ([_ANY, {"type": "deny", "dataPeriod": _SINCE}], _OLD),
        (
            [_ANY, {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": "Observation/x"}}]}],
            _OLD,
        ),
        ([{"type": "deny", "dataPeriod": _SINCE, "provision": [{"type": "permit", "class": _OBSERVATIONS}]}], _NEW),
        (
            [
                {
                    "type": "deny",
                    "provision": [{"type": "deny", "dataPeriod": _SINCE, "provision": [_ANY]}],
                }
            ],
            _NEW,
        ),
        ([_ANY, {"type": "permit", "dataPeriod": _SINCE, "provision": [{"type": "deny"}]}], _OLD),
        ([_ANY, {"type": "deny", "securityLabel": _NORMAL}], replace(_OLD, labels=frozenset({Coding(*_LOW)}))),
    ],
    ids=[
        "a profile",
        "a sensitive category",
        "a deny of a time",
        "a deny of one",
        "an exception to a deny of a time",
        "one deeper",
        "what is excepted from part of the data",
        "what is less confidential",
    ],
)
def test_what_is_permitted_lies_in_an_open_category(provisions: list[dict[str, Any]], facts: ResourceFacts) -> None:
    consents = [_consent(provision) for provision in provisions]
    assert isinstance(decide([read_consent(consent) for consent in consents], _AROUND, facts), Permit)
    assert _opened(consents, ["laboratory"])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(generated.trees(), min_size=1, max_size=2), generated.circumstances, generated.facts, st.booleans())
def test_whatever_is_permitted_lies_in_an_open_category(
    trees: list[Tree], around: Circumstances, facts: ResourceFacts, by_name: bool
) -> None:
    around = replace(around, categories=CATALOGUE.codes, by_name=by_name)
    consents = [r4(tree) for tree in trees]
    assume(isinstance(decide([read_consent(consent) for consent in consents], around, facts), Permit))
    everyday = classify(facts, CATALOGUE).everyday
    assert not everyday or _opened(consents, everyday, around)


def test_a_deny_of_a_whole_category_leaves_it_closed() -> None:
    laboratory = [{"system": "urn:assent:data-category", "code": "laboratory"}]
    consents = [_consent(_ANY), _consent({"type": "deny", "class": laboratory})]
    assert _opened(consents, ["laboratory", "conditions"]) == {"conditions"}
