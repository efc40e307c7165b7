"""What a Consent is read from: types, instants, references, and what a resource says of its authors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from assent.policy_files import load_catalogue
from fhir.consents.elements import reference_names
from fhir.consents.reading import read_consent
from fhir.minimization.facts import FactsReader
from fhir.r4.definitions import load_definitions
from fhir.r4.instants import instant_of
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES

_READER = FactsReader(load_definitions(), load_catalogue(), upstream_bases=("https://upstream.example/fhir",))


def test_the_names_of_resource_types_are_those_of_fhir_r4() -> None:
    assert load_definitions().resource_types == RESOURCE_TYPE_NAMES


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2028", datetime(2028, 1, 1, tzinfo=UTC), datetime(2028, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2028-02", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)),
        (
            "2028-02-29T23:30:00-01:00",
            datetime(2028, 3, 1, 0, 30, tzinfo=UTC),
            datetime(2028, 3, 1, 0, 30, 0, 999_999, tzinfo=UTC),
        ),
    ],
)
def test_a_date_covers_its_whole_span(value: str, first: datetime, last: datetime) -> None:
    assert (instant_of(value, end=False), instant_of(value, end=True)) == (first, last)


@pytest.mark.parametrize(
    "value",
    [
        *("", "26", "2026-6", "2026-06-31", "2026-W25-1", "2026-166", "20260615", "2026-06-15 12:00:00Z", "0000"),
        *("2026-06-15T12:00Z", "2026-06-15T12:00:00,5Z", "2026-06-15T24:00:00Z", "2026-06-15T12:00:00z", "٢٠٢٦"),
        *("2026-06-15T12:00:00+25:00", "2026-06-15\n", None, 2026, True, ["2026"], {"value": "2026"}),
    ],
)
def test_what_is_no_fhir_date_is_no_instant(value: object) -> None:
    assert (instant_of(value, end=False), instant_of(value, end=True)) == (None, None)


@pytest.mark.parametrize(
    ("literal", "permitted", "denied"),
    [
        ("Group/g", ("Group/g",), ("Group/g",)),
        ("Group/g/_history/2", ("Group/g/_history/2",), ("Group/g/_history/2", "Group/g")),
        ("http://x/fhir/Group/g", ("http://x/fhir/Group/g",), ("http://x/fhir/Group/g", "Group/g")),
        *(
            (bad, (), ())
            for bad in ("", "g", "#g", "urn:uuid:x", "group/g", "Gruppe/g", "Group/", "Group/g h", None, 1)
        ),
    ],
)
def test_a_reference_names_what_it_refers_to(
    literal: object, permitted: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    assert reference_names(literal, permit=True) == permitted
    assert reference_names(literal, permit=False) == denied


@pytest.mark.parametrize("content", [None, [], "Consent", 1, {}, {"resourceType": "Consent"}, {"status": "active"}])
def test_what_is_no_consent_applies_to_nobody(content: Any) -> None:
    rule = read_consent(content)
    assert rule.patient == ""


def test_a_reference_with_a_version_is_one_to_the_resource() -> None:
    observation = {
        "resourceType": "Observation",
        "encounter": {"reference": "https://upstream.example/fhir/Encounter/e/_history/2"},
        "focus": [{"reference": "https://elsewhere.example/fhir/Encounter/f"}],
    }
    assert _READER.read(observation).references == {"Encounter/e", "https://elsewhere.example/fhir/Encounter/f"}


@pytest.mark.parametrize(
    "performer", [{"identifier": {"value": "x"}}, {"display": "Dr X"}, {"reference": "https://elsewhere.example/P/x"}]
)
def test_an_author_who_cannot_be_told_is_not_left_out(performer: dict[str, Any]) -> None:
    observation = {"resourceType": "Observation", "performer": [{"reference": "Practitioner/a"}, performer]}
    assert _READER.read(observation).authors == {"Practitioner/a", ""}
