"""Parts of categories in Consents: what is written down of a decision, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from fhir.consents.summary import summary_of
from fhir.consents.writing import ConsentDecision, PolicyText, consent_resource

CATALOGUE = load_catalogue()
NOW = datetime(2026, 6, 15, tzinfo=UTC)
TEXT = PolicyText("urn:x", "1", "en", "x", "0" * 64)


def _consent(asked: tuple[str, ...], granted: tuple[str, ...]) -> dict[str, Any]:
    who = ("p", "Patient/p", "P", "app", "App", "PATRQT")
    return dict(consent_resource(ConsentDecision(*who, asked, granted, NOW, None, TEXT), CATALOGUE))


@pytest.mark.parametrize(
    ("asked", "granted", "state", "told"),
    [
        (("conditions",), ("conditions",), "granted", ("conditions",)),
        (("conditions",), ("problem-list",), "limited", ("problem-list",)),
        (("conditions",), ("conditions", "problem-list"), "granted", ("conditions",)),
        (("conditions", "problem-list"), ("conditions",), "granted", ("conditions",)),
        (("problem-list",), ("problem-list",), "granted", ("problem-list",)),
        (("problem-list",), ("conditions",), "granted", ("conditions",)),
        (("problem-list", "visit-diagnoses"), ("problem-list",), "limited", ("problem-list",)),
        (
            ("conditions",),
            ("problem-list", "health-concerns", "visit-diagnoses"),
            "limited",
            ("problem-list", "health-concerns", "visit-diagnoses"),
        ),
    ],
)
def test_a_decision_is_limited_where_something_asked_for_isnt_shared(
    asked: tuple[str, ...], granted: tuple[str, ...], state: str, told: tuple[str, ...]
) -> None:
    found = summary_of(_consent(asked, granted), CATALOGUE, NOW)
    assert (found.state, found.categories) == (state, told)


def test_a_consent_from_elsewhere_that_names_both_is_told_by_the_whole() -> None:
    consent = _consent(("conditions",), ("conditions",))
    consent["provision"]["class"].append(_part("problem-list"))
    found = summary_of(consent, CATALOGUE, NOW)
    assert (found.state, found.categories, found.plain) == ("granted", ("conditions",), True)


def test_a_consent_that_excepts_a_part_says_more_than_a_decision() -> None:
    consent = _consent(("conditions",), ("conditions",))
    consent["provision"]["provision"].append({"type": "deny", "class": [_part("visit-diagnoses")]})
    assert summary_of(consent, CATALOGUE, NOW).plain is False


def _part(code: str) -> dict[str, str]:
    return {"system": "urn:assent:data-category", "code": code}
