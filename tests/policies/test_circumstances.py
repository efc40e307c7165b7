"""What a token's request tells the consents: the app, the person behind it, the categories that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fhir.consents.reading import read_consent
from policies.classify import classify
from policies.consent_rule import ConsentRule
from policies.decide import ReadPlan, circumstances_of, decide_resource, plan_read, share_of
from policies.model import Access, Deny, Permit, Scope
from policies.open_categories import open_categories
from tests.policies.consents import CATALOGUE, NOW, case_facts

_LAB = case_facts({"type": "Observation", "category": "laboratory"})
_PSYCHIATRIC = case_facts({"type": "Observation", "category": "laboratory", "labels": ["PSY"], "confidentiality": "R"})
_RECIPIENT = {"coding": [{"code": "IRCP"}]}


def _access(user: str | None) -> Access:
    return Access("app", "g", (Scope("patient", "Observation", "rs"),), 0, "j", "p1", user)


def _consent(*exceptions: dict[str, Any], **provision: Any) -> dict[str, Any]:
    root = {"type": "permit", **provision}
    return {
        "resourceType": "Consent",
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "provision": {**root, "provision": list(exceptions)} if exceptions else root,
    }


def _plan(user: str | None, rules: Sequence[ConsentRule]) -> ReadPlan:
    plan = plan_read(_access(user), "read", "Observation", CATALOGUE)
    assert isinstance(plan, ReadPlan)
    share = share_of(plan, "p1", rules, CATALOGUE, NOW)
    assert share is not None
    return plan.sharing({"p1": share})


@pytest.mark.parametrize(("user", "outcome"), [("Practitioner/d", Deny), ("Practitioner/e", Permit), (None, Permit)])
def test_what_is_denied_to_a_person_is_denied_to_the_app_in_their_hands(user: str | None, outcome: type) -> None:
    denied = {"type": "deny", "actor": [{"role": _RECIPIENT, "reference": {"reference": "Practitioner/d"}}]}
    plan = _plan(user, [read_consent(_consent(denied))])
    assert isinstance(decide_resource(plan, _LAB, CATALOGUE), outcome)


def test_a_denied_category_that_is_no_longer_in_the_catalogue_denies_all() -> None:
    denied = {"type": "deny", "class": [{"system": "urn:assent:data-category", "code": "gone"}]}
    plan = _plan(None, [read_consent(_consent(denied))])
    assert isinstance(decide_resource(plan, _LAB, CATALOGUE), Deny)


def test_an_exception_for_other_data_that_is_not_understood_denies_all() -> None:
    other = [{"system": "urn:assent:data-category", "code": "medications"}]
    for denied, outcome in (({}, Permit), ({"invented": True}, Deny)):
        plan = _plan(None, [read_consent(_consent({"type": "deny", "class": other, **denied}))])
        assert isinstance(decide_resource(plan, _LAB, CATALOGUE), outcome)


def test_a_category_counts_as_open_where_a_label_opens_part_of_it() -> None:
    psychiatry = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]
    rules = [read_consent(_consent(securityLabel=psychiatry))]
    around = circumstances_of(_access(None), "p1", CATALOGUE, NOW)
    assert "laboratory" in {category.code for category in open_categories(rules, around, CATALOGUE)}
    plan = _plan(None, rules)
    assert isinstance(decide_resource(plan, _PSYCHIATRIC, CATALOGUE), Permit)
    assert isinstance(decide_resource(plan, _LAB, CATALOGUE, classify(_LAB, CATALOGUE)), Deny)
