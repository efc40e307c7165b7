"""When the operator's rule for emergencies speaks, and what it keeps closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from policies.emergency import breaks_glass, emergency_rule
from policies.model import Access

CATALOGUE = load_catalogue()
GIVEN = Access("app", "grant", (), 0, "", patient="ana", user="Practitioner/d", subject="u", purpose="BTG")


@pytest.mark.parametrize(
    ("change", "whether"),
    [
        ({}, True),
        ({"purpose": "ETREAT"}, False),
        ({"purpose": "TREAT"}, False),
        ({"purpose": "http://elsewhere.example|BTG"}, False),
        ({"grant_id": ""}, False),
        ({"patient": None}, False),
        ({"grant_id": "", "patient": None, "user": None, "subject": "app"}, False),
    ],
)
def test_only_a_grant_for_break_glass_with_a_patient_breaks_the_glass(change: dict[str, Any], whether: bool) -> None:
    assert breaks_glass(replace(GIVEN, **change)) is whether


def test_the_rule_is_about_one_patient_and_denies_what_the_catalogue_keeps_closed() -> None:
    rule = emergency_rule("ana", CATALOGUE)
    assert (rule.patient, rule.kind, [p.code for p in rule.root.purposes]) == ("ana", "emergency", ["BTG"])
    closed = {c.code for nested in rule.root.provisions for c in nested.classes if not nested.permit}
    assert closed == {"domestic-violence", "genetic", "other-sensitive", "sharing-record"}


def test_nobody_is_registered_for_break_glass() -> None:
    assert set(CATALOGUE.purposes) - set(CATALOGUE.askable) == {"BTG"}
