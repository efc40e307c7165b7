"""What search parameters find in resources, datatype by datatype; and that hostile content finds nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir.r4.definitions import Definitions, SearchPath, load_definitions
from fhir.search.date_ranges import EARLIEST, LATEST
from fhir.search.values import (
    DateRange,
    Number,
    Quantity,
    Ref,
    SearchValue,
    Text,
    Token,
    Uri,
    find_by_path,
    index,
    normalized_text,
    values_of,
)

DEFINITIONS = load_definitions()
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # datetime's overloads don't take a star


def _found(resource_type: str, code: str, content: dict[str, object]) -> list[SearchValue]:
    parameter = DEFINITIONS.search_parameters(resource_type)[code]
    return list(values_of({"resourceType": resource_type, **content}, parameter, DEFINITIONS))


CODING = {"system": LOINC, "code": "718-7", "display": "Hemoglobin"}

TOKENS: list[tuple[str, str, dict[str, object], list[Token]]] = [
    ("Observation", "code", {"code": {"coding": [CODING]}}, [Token(LOINC, "718-7", "Hemoglobin")]),
    (
        "Observation",
        "code",
        {"code": {"coding": [{"code": "x"}, {"system": LOINC, "code": "y"}], "text": "Hb"}},
        [Token("", "x"), Token(LOINC, "y"), Token("", "", "Hb")],
    ),
    ("Observation", "code", {"code": {"text": "only words"}}, [Token("", "", "only words")]),
    ("Observation", "code", {"code": {"coding": CODING}}, [Token(LOINC, "718-7", "Hemoglobin")]),
    ("Observation", "code", {"code": {"coding": [{"system": LOINC}]}}, []),
    ("Observation", "code", {"code": {"coding": [{"code": 7}, None, "x", []], "text": 5}}, []),
    ("Observation", "code", {"code": {"coding": [CODING, CODING]}}, [Token(LOINC, "718-7", "Hemoglobin")]),
    ("Observation", "code", {"code": {"coding": [{"code": "a\x00b"}]}}, []),
    ("Observation", "code", {"code": {"coding": [{"code": "\ud800"}]}}, []),
    ("Observation", "status", {"status": "final"}, [Token("http://hl7.org/fhir/observation-status", "final")]),
    (
        "Observation",
        "combo-code",
        {"code": {"coding": [{"code": "a"}]}, "component": [{"code": {"coding": [{"code": "b"}]}}, {}]},
        [Token("", "a"), Token("", "b")],
    ),
    ("Observation", "_security", {"meta": {"security": [{"system": "s", "code": "R"}]}}, [Token("s", "R")]),
    ("Observation", "_id", {"id": "o1"}, [Token("", "o1")]),
    (
        "Patient",
        "identifier",
        {"identifier": [{"system": "urn:mrn", "value": "12", "type": {"text": "MRN"}}, {"system": "urn:x"}]},
        [Token("urn:mrn", "12", "MRN")],
    ),
    (
        "Patient",
        "phone",
        {"telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "a@b"}, {"value": "2"}]},
        [Token("", "1")],
    ),
    ("Patient", "active", {"active": True}, [Token("", "true")]),
    ("Patient", "active", {"active": "true"}, []),
    ("Patient", "deceased", {"deceasedDateTime": "2020"}, [Token("", "true")]),
    ("Patient", "deceased", {"deceasedBoolean": True}, [Token("", "true")]),
    ("Patient", "deceased", {"deceasedBoolean": False}, [Token("", "false")]),
    ("Patient", "deceased", {}, [Token("", "false")]),
]


@pytest.mark.parametrize(("resource_type", "code", "content", "expected"), TOKENS)
def test_tokens(resource_type: str, code: str, content: dict[str, object], expected: list[Token]) -> None:
    assert _found(resource_type, code, content) == expected


REFERENCES: list[tuple[str, object, list[Ref]]] = [
    ("subject", {"reference": "Patient/p1"}, [Ref("Patient", "p1")]),
    ("subject", {"reference": "Patient/p1/_history/3"}, [Ref("Patient", "p1")]),
    ("subject", {"reference": "https://e.org/fhir/Patient/p1"}, [Ref(url="https://e.org/fhir/Patient/p1")]),
    ("subject", {"reference": "https://e.org/fhir/Patient/p1/_history/1"}, [Ref(url="https://e.org/fhir/Patient/p1")]),
    ("subject", {"reference": "urn:uuid:6b2d"}, [Ref(url="urn:uuid:6b2d")]),
    ("subject", {"reference": "#contained"}, []),
    ("subject", {"reference": ""}, []),
    ("subject", {"display": "Ann"}, []),
    ("subject", "Patient/p1", []),
    ("subject", {"reference": ["Patient/p1"]}, []),
    ("subject", {"reference": "Patient/p1\n"}, [Ref(url="Patient/p1\n")]),
    ("subject", {"reference": "Patient/" + "x" * 65}, [Ref(url="Patient/" + "x" * 65)]),
    ("subject", {"identifier": {"system": "urn:mrn", "value": "1"}}, [Ref("", "", "", "urn:mrn", "1")]),
    (
        "subject",
        {"reference": "Patient/p1", "identifier": {"system": "urn:mrn", "value": "1"}},
        [Ref("Patient", "p1", "", "urn:mrn", "1")],
    ),
    ("patient", {"reference": "Patient/p1"}, [Ref("Patient", "p1")]),
    ("patient", {"reference": "https://e.org/Patient/p1"}, [Ref(url="https://e.org/Patient/p1")]),
    ("patient", {"reference": "Group/g1"}, []),
    ("patient", {"reference": "urn:uuid:6b2d"}, []),
    ("patient", {"reference": "urn:uuid:6b2d", "type": "Patient"}, [Ref(url="urn:uuid:6b2d")]),
    ("patient", {"reference": "Group/g1", "type": "Patient"}, []),
]


@pytest.mark.parametrize(("code", "subject", "expected"), REFERENCES)
def test_references(code: str, subject: object, expected: list[Ref]) -> None:
    assert _found("Observation", code, {"subject": subject}) == expected


def test_a_canonical_is_found_with_and_without_its_version() -> None:
    found = _found("QuestionnaireResponse", "questionnaire", {"questionnaire": "http://e/q|2"})
    assert found == [Ref(url="http://e/q|2"), Ref(url="http://e/q")]


DATES: list[tuple[object, DateRange | None]] = [
    ("2024", DateRange(_at(2024, 1, 1), _at(2025, 1, 1))),
    ("2024-02", DateRange(_at(2024, 2, 1), _at(2024, 3, 1))),
    ("2024-12", DateRange(_at(2024, 12, 1), _at(2025, 1, 1))),
    ("2024-02-29", DateRange(_at(2024, 2, 29), _at(2024, 3, 1))),
    ("2024-02-29T10:00:00Z", DateRange(_at(2024, 2, 29, 10), _at(2024, 2, 29, 10, 0, 1))),
    ("2024-02-29T10:00:00", DateRange(_at(2024, 2, 29, 10), _at(2024, 2, 29, 10, 0, 1))),
    ("2024-02-29T10:00Z", DateRange(_at(2024, 2, 29, 10), _at(2024, 2, 29, 10, 1))),
    ("2024-01-01T00:30:00+02:00", DateRange(_at(2023, 12, 31, 22, 30), _at(2023, 12, 31, 22, 30, 1))),
    ("2024-01-01T23:30:00-05:00", DateRange(_at(2024, 1, 2, 4, 30), _at(2024, 1, 2, 4, 30, 1))),
    ("2024-01-01T00:00:00.5Z", DateRange(_at(2024, 1, 1, 0, 0, 0, 500000), _at(2024, 1, 1, 0, 0, 0, 600000))),
    ("2024-01-01T00:00:00.123Z", DateRange(_at(2024, 1, 1, 0, 0, 0, 123000), _at(2024, 1, 1, 0, 0, 0, 124000))),
    ("2024-01-01T00:00:00.1234567Z", DateRange(_at(2024, 1, 1, 0, 0, 0, 123456), _at(2024, 1, 1, 0, 0, 0, 123457))),
    ("2016-12-31T23:59:60Z", DateRange(_at(2017, 1, 1), _at(2017, 1, 1, 0, 0, 1))),
    ("9999", DateRange(_at(9999, 1, 1), LATEST)),
    ("9999-12-31", DateRange(_at(9999, 12, 31), LATEST)),
    ("0001", DateRange(EARLIEST, _at(2, 1, 1))),
    ("0001-01-01T00:00:00+14:00", None),
    ("0000", None),
    ("2023-02-29", None),
    ("2024-13", None),
    ("2024-01-01T24:00:00Z", None),
    ("2024-01-01T00:00:00+25:00", None),
    ("2024-01-01T10Z", None),
    ("2024-1-1", None),
    ("٢٠٢٤", None),
    ("2024\n", None),
    (" 2024", None),
    ("", None),
    (2024, None),
    (True, None),
    ({"start": "2024"}, None),
]


@pytest.mark.parametrize(("value", "expected"), DATES)
def test_dates_cover_the_span_of_their_precision(value: object, expected: DateRange | None) -> None:
    assert _found("Observation", "date", {"effectiveDateTime": value}) == ([expected] if expected else [])


PERIODS: list[tuple[object, DateRange | None]] = [
    ({"start": "2024-01", "end": "2024-02"}, DateRange(_at(2024, 1, 1), _at(2024, 3, 1))),
    ({"start": "2024"}, DateRange(_at(2024, 1, 1), LATEST)),
    ({"end": "2024"}, DateRange(EARLIEST, _at(2025, 1, 1))),
    ({"start": "2024-05", "end": "2024"}, DateRange(_at(2024, 5, 1), _at(2025, 1, 1))),
    ({"start": "2025", "end": "2024"}, None),
    ({"start": "nonsense", "end": "2024"}, None),
    ({"start": "2024", "end": 5}, None),
    ({}, None),
    ("2024", None),
]


@pytest.mark.parametrize(("value", "expected"), PERIODS)
def test_periods_are_open_where_an_end_is_missing_and_nothing_where_it_is_malformed(
    value: object, expected: DateRange | None
) -> None:
    assert _found("Observation", "date", {"effectivePeriod": value}) == ([expected] if expected else [])


def test_of_a_timing_only_the_outer_limits_count() -> None:
    timing = {
        "event": ["2024-03-01", "2024-01-01", "?"],
        "repeat": {"boundsPeriod": {"start": "2024-02", "end": "2024-05"}},
    }
    assert _found("Observation", "date", {"effectiveTiming": timing}) == [DateRange(_at(2024, 1, 1), _at(2024, 6, 1))]
    assert _found("Observation", "date", {"effectiveTiming": {"repeat": {"frequency": 1}}}) == []


def test_every_part_of_a_name_is_a_string_value() -> None:
    name = {
        "use": "official",
        "text": "Zoë Ångström",
        "family": "Ångström",
        "given": ["Zoë", None, 3],
        "prefix": ["Dr."],
    }
    assert _found("Patient", "name", {"name": [name]}) == [
        Text("Zoë Ångström", "zoe angstrom"),
        Text("Ångström", "angstrom"),
        Text("Zoë", "zoe"),
        Text("Dr.", "dr."),
    ]
    assert _found("Patient", "family", {"name": [name]}) == [Text("Ångström", "angstrom")]


def test_every_part_of_an_address_is_a_string_value() -> None:
    address = {"use": "home", "line": ["1 Main St", "Apt 2"], "city": "Springfield", "postalCode": "12345"}
    values = [v.value for v in _found("Patient", "address", {"address": address}) if isinstance(v, Text)]
    assert values == ["1 Main St", "Apt 2", "Springfield", "12345"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("  a \t b ", "a b"),
        ("ﬁ", "fi"),
        ("\u0301", ""),
    ],
)
def test_strings_are_compared_without_case_accents_and_doubled_space(text: str, expected: str) -> None:
    assert normalized_text(text) == expected


QUANTITIES: list[tuple[object, list[Quantity]]] = [
    (
        {"value": Decimal("1.50"), "unit": "mmol", "system": UCUM, "code": "mmol/L"},
        [Quantity(Decimal("1.50"), Decimal("1.50"), UCUM, "mmol/L", "mmol")],
    ),
    ({"value": 7}, [Quantity(Decimal(7), Decimal(7), "", "", "")]),
    ({"value": 0.1}, [Quantity(Decimal("0.1"), Decimal("0.1"), "", "", "")]),
    ({"value": "7"}, []),
    ({"value": True}, []),
    ({"value": float("nan")}, []),
    ({"value": Decimal("Infinity")}, []),
    ({"value": Decimal("1E+5000")}, []),
    ({"unit": "mg"}, []),
    ([[{"value": 7}]], []),
]


@pytest.mark.parametrize(("value", "expected"), QUANTITIES)
def test_quantities(value: object, expected: list[Quantity]) -> None:
    assert _found("Observation", "value-quantity", {"valueQuantity": value}) == expected


def test_money_is_a_quantity_of_a_currency_and_a_range_has_both_its_ends() -> None:
    gross: dict[str, object] = {"totalGross": {"value": 5, "currency": "EUR"}}
    assert _found("Invoice", "totalgross", gross) == [
        Quantity(Decimal(5), Decimal(5), "urn:iso:std:iso:4217", "EUR", "EUR")
    ]
    onset: dict[str, object] = {"onsetRange": {"low": {"value": 40, "code": "a"}, "high": {"value": 50, "code": "a"}}}
    assert _found("Condition", "onset-age", onset) == [Quantity(Decimal(40), Decimal(50), "", "a", "")]
    assert _found("Condition", "onset-age", {"onsetRange": {"low": {"value": 40}}}) == []


def test_numbers_and_uris() -> None:
    assert _found("RiskAssessment", "probability", {"prediction": [{"probabilityDecimal": Decimal("0.3")}]}) == [
        Number(Decimal("0.3"), Decimal("0.3"))
    ]
    assert _found("ValueSet", "url", {"url": "http://e/v"}) == [Uri("http://e/v")]
    assert _found("Patient", "_profile", {"meta": {"profile": ["http://e/p"]}}) == [Uri("http://e/p")]


def test_arrays_are_flattened_at_every_step_and_filters_hold_where_they_stand() -> None:
    resource = {"a": [{"k": "x", "b": [{"c": [1, 2]}, {"c": 3}]}, {"k": "y", "b": {"c": 4}}, "junk", None]}
    assert list(find_by_path(resource, SearchPath(("a", "b", "c")))) == [1, 2, 3, 4]
    assert list(find_by_path(resource, SearchPath(("a", "b", "c"), where=((0, "k", "y"),)))) == [4]
    assert list(find_by_path(resource, SearchPath(()))) == [resource]


def test_a_filter_by_extension_looks_into_all_extensions() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject"
    answer = [{"valueReference": {"reference": "Patient/p1"}}]
    items = [
        {"extension": [{"url": "x"}, {"url": url}], "answer": answer},
        {"extension": [{"url": "x"}], "answer": answer},
    ]
    assert _found("QuestionnaireResponse", "item-subject", {"item": items[:1]}) == [Ref("Patient", "p1")]
    assert _found("QuestionnaireResponse", "item-subject", {"item": items[1:]}) == []


def test_the_index_holds_all_parameters_of_the_type() -> None:
    resource = {
        "resourceType": "Condition",
        "id": "c1",
        "meta": {"lastUpdated": "2024-01-01T00:00:00Z"},
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [CODING]},
        "onsetDateTime": "2020",
    }
    assert set(index(resource, DEFINITIONS)) == {
        ("_id", Token("", "c1")),
        ("_lastUpdated", DateRange(_at(2024, 1, 1), _at(2024, 1, 1, 0, 0, 1))),
        ("subject", Ref("Patient", "p1")),
        ("patient", Ref("Patient", "p1")),
        ("code", Token(LOINC, "718-7", "Hemoglobin")),
        ("onset-date", DateRange(_at(2020, 1, 1), _at(2021, 1, 1))),
    }


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": "NoSuch"}, {"resourceType": ["Patient"]}, {"resourceType": "Element"}]
)
def test_what_is_no_resource_has_no_index(resource: dict[str, object]) -> None:
    assert index(resource, DEFINITIONS) == []


def test_every_path_in_the_definitions_can_be_read() -> None:
    from fhir.search.values import _READERS

    for name in DEFINITIONS.types:
        for parameter in DEFINITIONS.search_parameters(name).values():
            for path in parameter.paths if parameter.kind != "composite" else ():
                assert path.exists or (parameter.kind, path.type) in _READERS, (name, parameter.code)


def _member_names(definitions: Definitions, resource_types: tuple[str, ...]) -> list[str]:
    names = {
        step
        for resource_type in resource_types
        for parameter in definitions.search_parameters(resource_type).values()
        for path in parameter.paths
        for step in path.steps
    }
    inner = {"coding", "system", "code", "value", "reference", "identifier", "start", "end", "event", "repeat", "low"}
    return sorted(names | inner)


HOSTILE_TYPES = ("Patient", "Observation", "Condition", "AuditEvent")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=12)
    | st.sampled_from(
        ["2024-13", "9999-12-31", "Patient/p1", "#x", "phone", "\x00", "\ud800", "0001-01-01T00:00:00+14:00"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_member_names(DEFINITIONS, HOSTILE_TYPES)), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(HOSTILE_TYPES),
    st.dictionaries(st.sampled_from(_member_names(DEFINITIONS, HOSTILE_TYPES)), JSON, max_size=8),
)
def test_malformed_content_never_raises(resource_type: str, content: dict[str, object]) -> None:
    for _, value in index({**content, "resourceType": resource_type}, DEFINITIONS):
        if isinstance(value, DateRange):
            assert EARLIEST <= value.low < value.high <= LATEST
        if isinstance(value, Token | Ref | Text | Uri):
            assert all("\x00" not in part for part in (getattr(value, name) for name in value.__slots__))
