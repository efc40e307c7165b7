"""What the parser of searches refuses, by name, and that it never fails otherwise."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir.r4.definitions import load_definitions
from fhir.search.literals import SearchError, StringLiteral, TokenLiteral
from fhir.search.query import MAX_LENGTH, MAX_PARAMETERS, MAX_VALUES, parse_search

DEFINITIONS = load_definitions()

REFUSED = [
    # parameters, issue code, parameter named
    ("nonsense=1", "not-supported", "nonsense"),
    ("_has:Observation:patient:code=1", "not-supported", "_has"),
    ("_text=x", "not-supported", "_text"),
    ("_filter=x", "not-supported", "_filter"),
    ("code-value-quantity=a$1", "not-supported", "code-value-quantity"),
    ("code:in=http://x", "not-supported", "code:in"),
    ("code:below=x", "not-supported", "code:below"),
    ("code:=x", "not-supported", "code"),
    ("subject:.name=x", "not-supported", "subject"),
    ("date:exact=2024", "not-supported", "date:exact"),
    ("code:missing=maybe", "value", "code:missing"),
    ("code:missing=", "value", "code:missing"),
    ("_id:missing=true", "not-supported", "_id:missing"),
    ("_id:text=x", "not-supported", "_id:text"),
    ("_id=urn:x|p1", "value", "_id"),
    ("code=", "value", "code"),
    ("code=a,", "value", "code"),
    ("code=,", "value", "code"),
    ("code=|", "value", "code"),
    ("code=a|b|c", "value", "code"),
    ("code=a\\", "value", "code"),
    ("code=a\\b", "value", "code"),
    ("code=a\x00b", "value", "code"),
    ("code=\ud800", "value", "code"),
    (f"code={'x' * 300}", "too-long", "code"),
    ("value-string=\u0301", "value", "value-string"),
    ("date=ap2024", "not-supported", "date"),
    ("date=2024-13", "value", "date"),
    ("date=2024-02-30", "value", "date"),
    ("date=yesterday", "not-supported", "date"),
    ("date=2024-01-01T10:00:00 01:00", "value", "date"),
    ("date=\u0662\u0660\u0662\u0664", "value", "date"),
    ("value-quantity=5,4x", "value", "value-quantity"),
    ("value-quantity=5|kg", "value", "value-quantity"),
    ("value-quantity=1e999999", "value", "value-quantity"),
    ("value-quantity=NaN", "not-supported", "value-quantity"),
    ("subject=Patient/a/b", "value", "subject"),
    ("subject=a b", "value", "subject"),
    ("subject=https://fhir.example/base/p1", "value", "subject"),
    ("subject:Practitioner=1", "not-supported", "subject:Practitioner"),
    ("subject:patient=1", "not-supported", "subject:patient"),
    ("code.name=x", "not-supported", "code.name"),
    ("subject.organization.name=x", "not-supported", "subject.organization.name"),
    ("subject:Patient.nonsense=x", "not-supported", "subject:Patient.nonsense"),
    ("subject:missing.name=x", "not-supported", "subject:missing.name"),
    ("focus.status=x", "too-costly", "focus.status"),
    ("_sort=nonsense", "not-supported", "nonsense"),
    ("_sort=", "not-supported", ""),
    ("_sort=subject", "not-supported", "_sort"),
    ("_sort=date,-date", "invalid", "_sort"),
    ("_sort=date,code,_id,status,category", "too-costly", "_sort"),
    ("_count=-1", "value", "_count"),
    ("_count=ten", "value", "_count"),
    ("_count=\u0665", "value", "_count"),
    ("_count=1&_count=2", "invalid", "_count"),
    ("_include=*", "not-supported", "_include"),
    ("_include=Observation:*", "not-supported", "_include"),
    ("_include=Observation", "value", "_include"),
    ("_include=Nothing:subject", "value", "_include"),
    ("_include=Observation:code", "value", "_include"),
    ("_include=Observation:subject:Practitioner", "value", "_include"),
    ("_include=Patient:organization", "not-supported", "_include"),
    ("_include:iterate=Observation:subject", "not-supported", "_include"),
    ("_revinclude=Condition:subject", "not-supported", "_revinclude"),
    ("_revinclude=Provenance:target:Patient", "not-supported", "_revinclude"),
    ("_summary=some", "value", "_summary"),
    ("_summary=text&_include=Observation:subject", "invalid", "_summary"),
    ("_summary=true&_elements=code", "invalid", "_elements"),
    ("_elements=nonsense", "value", "_elements"),
    ("_elements=code.text", "value", "_elements"),
    ("_total=some", "value", "_total"),
    ("_format=xml", "not-supported", "_format"),
    ("_contained=true", "not-supported", "_contained"),
    ("_containedType=x", "not-supported", "_containedType"),
    ("_query=x", "not-supported", "_query"),
]


def _split(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&"))]


@pytest.mark.parametrize(("parameters", "code", "parameter"), REFUSED)
def test_search_is_refused_by_name(parameters: str, code: str, parameter: str) -> None:
    with pytest.raises(SearchError) as refused:
        parse_search(
            "Observation", _split(parameters), DEFINITIONS, max_count=10, base_url="https://fhir.example/base/"
        )
    assert (refused.value.code, refused.value.parameter) == (code, parameter)


def test_unknown_type_and_too_large_searches_are_refused() -> None:
    def code_of(resource_type: str, parameters: list[tuple[str, str]]) -> str:
        with pytest.raises(SearchError) as refused:
            parse_search(resource_type, parameters, DEFINITIONS, max_count=10)
        return refused.value.code

    assert code_of("Pirate", []) == "not-supported"
    assert code_of("HumanName", []) == "not-supported"
    assert code_of("DomainResource", []) == "not-supported"
    assert code_of("Patient", [("_id", "a")] * (MAX_PARAMETERS + 1)) == "too-long"
    assert code_of("Patient", [("_id", "a" * MAX_LENGTH)]) == "too-long"
    assert code_of("Patient", [("_id", ",".join("a" * (MAX_VALUES + 1)))]) == "too-costly"
    assert code_of("Patient", [("_id", ",".join("a" * (MAX_VALUES // 2)))] * 3) == "too-costly"


def test_escapes_keep_separators_within_a_value() -> None:
    query = parse_search(
        "Patient", [("name", r"a\,b,c\\,d\$\|"), ("identifier", r"s\|t|x\,y")], DEFINITIONS, max_count=10
    )
    assert query.conditions[0].values == (
        StringLiteral("a,b", "a,b"),
        StringLiteral("c\\", "c\\"),
        StringLiteral("d$|", "d$|"),
    )
    assert query.conditions[1].values == (TokenLiteral("s|t", "x,y"),)


def test_count_is_bounded_and_zero_asks_for_the_number_only() -> None:
    assert parse_search("Patient", [("_count", "1000")], DEFINITIONS, max_count=10).count == 10
    assert parse_search("Patient", [], DEFINITIONS, max_count=10).count == 10
    assert parse_search("Patient", [("_count", "3")], DEFINITIONS, max_count=10).count == 3
    counted = parse_search("Patient", [("_count", "0"), ("_summary", "true")], DEFINITIONS, max_count=10)
    assert (counted.count, counted.summary) == (10, "count")


def test_parameters_of_the_self_link_leave_the_cursor_out() -> None:
    query = parse_search("Patient", [("_cursor", "c"), ("name", "a"), ("_format", "json")], DEFINITIONS, max_count=10)
    assert query.cursor == "c"
    assert query.parameters == (("name", "a"), ("_format", "json"))


_NAMES = st.one_of(
    st.sampled_from(
        ["_id", "_count", "_sort", "_include", "_revinclude", "_elements", "_summary", "_total", "_format", "_cursor"]
    ),
    st.sampled_from(sorted(DEFINITIONS.search_parameters("Observation"))),
    st.text(max_size=12),
)
_SUFFIXES = st.one_of(
    st.just(""),
    st.sampled_from(
        [":missing", ":not", ":text", ":exact", ":Patient", ":Patient.name", ".name", ":identifier", ":", "."]
    ),
    st.text(max_size=6),
)
_VALUES = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="0123456789-T:Z.+eE,|\\$ gtlsabe/Patient", max_size=40),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999", "0000", "true", "Patient/1"]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.builds(str.__add__, _NAMES, _SUFFIXES), _VALUES), max_size=4))
def test_parser_raises_nothing_but_search_errors(parameters: list[tuple[str, str]]) -> None:
    try:
        query = parse_search("Observation", parameters, DEFINITIONS, max_count=10)
    except SearchError as error:
        assert error.text  # noqa: PT017  # either outcome is fine; an error must explain itself
    else:
        assert 1 <= query.count <= 10


@pytest.mark.parametrize("code", ["site", "source", "address", "policy", "entity-name", "altid", "agent-name"])
def test_a_parameter_of_audit_events_that_is_not_indexed_is_refused(code: str) -> None:
    with pytest.raises(SearchError) as refused:
        parse_search("AuditEvent", [(code, "x")], load_definitions(), max_count=10)
    assert refused.value.code == "not-supported"
