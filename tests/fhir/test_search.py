"""What searches find, on a real PostgreSQL: a table of questions over a few hand-written resources, and paging."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fhir.r4.definitions import Definitions, load_definitions
from fhir.search.literals import SearchError
from fhir.search.query import SearchQuery, parse_search
from fhir.store.repository import Repository
from tests.conftest import MakeDatabase
from tests.fhir.store_samples import SAMPLES, SteppingClock

BASE = "https://fhir.example/base"

CASES = [
    # resource type, parameters, ids found in order
    ("Patient", "", "p1 p2 p3"),
    ("Patient", "_id=p2", "p2"),
    ("Patient", "_id=P2", ""),
    ("Patient", "_id=p2,p3,none", "p2 p3"),
    ("Patient", "_id:not=p2", "p1 p3"),
    # string
    ("Patient", "name=mull", "p1 p2"),
    ("Patient", "name=M\u00dcLLER", "p1 p2"),
    ("Patient", "family:exact=M\u00fcller", "p1"),
    ("Patient", "family:exact=muller", ""),
    ("Patient", "family:contains=kafo", "p3"),
    ("Patient", "family=Muller\\,Jr", "p2"),
    ("Patient", "family=Muller,Okafor", "p1 p2 p3"),
    ("Patient", "family=%", ""),
    ("Patient", "family=_", ""),
    ("Patient", "given:missing=true", "p3"),
    ("Patient", "given:missing=false", "p1 p2"),
    # token
    ("Patient", "gender=female", "p1"),
    ("Patient", "gender=FEMALE", "p1"),
    ("Patient", "gender:not=female", "p2 p3"),
    ("Patient", "gender:not=female,male", "p3"),
    ("Patient", "active=true", "p1"),
    ("Patient", "identifier=urn:mrn|A-1", "p1"),
    ("Patient", "identifier=urn:mrn|A-2", ""),
    ("Patient", "identifier=|A-2", "p2"),
    ("Patient", "identifier=|A-1", ""),
    ("Patient", "identifier=urn:mrn|", "p1"),
    ("Patient", "identifier=A-1,A-2", "p1 p2"),
    ("Patient", "identifier:text=medical", "p1"),
    ("Patient", "_tag=urn:t|demo", "p2"),
    ("Patient", "_tag:missing=true", "p1 p3"),
    ("Observation", "code=http://loinc.org|4548-4", "o1"),
    ("Observation", "code:text=hemoglobin", "o1"),
    ("Observation", "code:text=free", "o3"),
    ("Observation", "category=laboratory&status=final", "o1"),
    ("Observation", "code:not=http://loinc.org|29463-7", "o1 o3"),
    # reference
    ("Observation", "subject=p1", "o1 o2"),
    ("Observation", "subject=Patient/p1", "o1 o2"),
    ("Observation", f"subject={BASE}/Patient/p1", "o1 o2"),
    ("Observation", "subject=https://elsewhere.example/Patient/p1", ""),
    ("Observation", "subject=Group/p1", ""),
    ("Observation", "subject:Patient=p1", "o1 o2"),
    ("Observation", "subject:Group=p1", ""),
    ("Observation", "patient=p1,p2", "o1 o2 o3"),
    ("Observation", "patient=p1&patient=p2", ""),
    ("Observation", "subject:identifier=urn:mrn|A-9", "o4"),
    ("Observation", "subject:identifier=A-9", "o4"),
    ("Observation", "performer=https://elsewhere.example/fhir/Practitioner/9", "o4"),
    ("Observation", "performer:missing=true", "o1 o2 o3"),
    # chains
    ("Observation", "subject:Patient.name=anna", "o1 o2"),
    ("Observation", "patient.name=ben", "o3"),
    ("Observation", "patient.gender:not=female", "o3"),
    ("Observation", "patient._id=p2", "o3"),
    ("Observation", "subject.name=okafor", ""),
    ("Patient", "general-practitioner:Practitioner.family=web", "p1"),
    # date: o1 2024-03-05T09:00:00Z, o2 2024-01-01..2024-02-15, o3 2024-03.., o4 none
    ("Observation", "date=2024-03-05", "o1"),
    ("Observation", "date=2024-03-05T09:00:00Z", "o1"),
    ("Observation", "date=2024-03-05T10:00:00Z", ""),
    ("Observation", "date=2024", "o1 o2"),
    ("Observation", "date=ne2024-03-05", "o2 o3"),
    ("Observation", "date=gt2024-03-05", "o3"),
    ("Observation", "date=ge2024-03-05", "o1 o3"),
    ("Observation", "date=lt2024-02", "o2"),
    ("Observation", "date=le2024-03-05", "o1 o2 o3"),
    ("Observation", "date=sa2024-02-15", "o1 o3"),
    ("Observation", "date=eb2024-03", "o2"),
    ("Observation", "date=ge2024-02-01&date=lt2024-03", "o2"),
    ("Observation", "date:missing=true", "o4"),
    ("Patient", "birthdate=1980-05", "p1"),
    ("Patient", "birthdate=1980-06-05", ""),
    ("Patient", "birthdate=lt1980-06-05", "p1 p2"),
    ("Patient", "_lastUpdated=2024-06-01", "p1 p2 p3"),
    ("Patient", "_lastUpdated=lt2024-06-01", ""),
    ("Patient", "_lastUpdated=le2024-06-01T12:00:01Z", "p1 p2"),
    # quantity and number
    ("Observation", "value-quantity=5.4", "o1"),
    ("Observation", "value-quantity=5.40", "o1"),
    ("Observation", "value-quantity=5.41", ""),
    ("Observation", "value-quantity=5", "o1"),
    ("Observation", "value-quantity=6", ""),
    ("Observation", "value-quantity=gt5.4", "o2"),
    ("Observation", "value-quantity=ge5.4", "o1 o2"),
    ("Observation", "value-quantity=lt72", "o1"),
    ("Observation", "value-quantity=ne72", "o1"),
    ("Observation", "value-quantity=72|http://unitsofmeasure.org|kg", "o2"),
    ("Observation", "value-quantity=72||kg", "o2"),
    ("Observation", "value-quantity=5.4||percent", "o1"),
    ("Observation", "value-quantity=72||%", ""),
    ("RiskAssessment", "probability=0.25", "r1"),
    ("RiskAssessment", "probability=gt0.3", ""),
    # uri
    ("ValueSet", "url=https://example.org/sets/a", "v1"),
    ("ValueSet", "url:below=https://example.org/sets/a", "v1 v2"),
    ("ValueSet", "url:below=https://example.org/set", ""),
    # sorting; what has no value comes last
    ("Patient", "_sort=-_id", "p3 p2 p1"),
    ("Patient", "_sort=-_lastUpdated", "p3 p2 p1"),
    ("Patient", "_sort=given", "p1 p2 p3"),
    ("Patient", "_sort=-given", "p1 p2 p3"),
    ("Patient", "_sort=-birthdate", "p2 p1 p3"),
    ("Observation", "_sort=date", "o2 o3 o1 o4"),
    ("Observation", "_sort=-date", "o3 o1 o2 o4"),
    ("Observation", "_sort=status,-value-quantity", "o1 o3 o4 o2"),
]


def _parameters(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(scope="module")
async def loaded_url(make_database: MakeDatabase, definitions: Definitions) -> str:
    url = await make_database()
    engine = create_async_engine(url)
    await Repository(engine, definitions, schema="assent", clock=SteppingClock()).load(SAMPLES)
    await engine.dispose()
    return url


@pytest.fixture(scope="module")
async def samples(loaded_url: str, definitions: Definitions) -> AsyncIterator[Repository]:
    """The samples, to be read only."""
    engine = create_async_engine(loaded_url)
    yield Repository(engine, definitions, schema="assent", clock=SteppingClock())
    await engine.dispose()


def _query(repository: Repository, resource_type: str, parameters: Sequence[tuple[str, str]]) -> SearchQuery:
    return parse_search(resource_type, parameters, repository.definitions, max_count=100, base_url=BASE)


@pytest.mark.parametrize(("resource_type", "parameters", "expected"), CASES)
async def test_search_finds(samples: Repository, resource_type: str, parameters: str, expected: str) -> None:
    page = await samples.search(_query(samples, resource_type, _parameters(parameters)))
    assert " ".join(match.id for match in page.matches) == expected
    assert page.total == len(page.matches)
    assert page.next_cursor is None


@pytest.mark.parametrize(
    ("resource_type", "parameters", "expected"),
    [
        ("Observation", "_include=Observation:subject", {"Patient/p1", "Patient/p2"}),
        ("Observation", "_id=o3&_include=Observation:subject:Patient", {"Patient/p2"}),
        ("Observation", "_include=Observation:subject:Group", set()),
        ("Patient", "_id=p1&_include=Patient:general-practitioner", {"Practitioner/dr1"}),
        ("Patient", "_id=p1&_revinclude=Observation:subject", {"Observation/o1", "Observation/o2"}),
        (
            "Patient",
            "_revinclude=RiskAssessment:subject&_revinclude=Observation:patient:Patient",
            {"RiskAssessment/r1", "Observation/o1", "Observation/o2", "Observation/o3"},
        ),
        ("Patient", "_id=none&_revinclude=Observation:subject", set()),
    ],
)
async def test_search_includes(samples: Repository, resource_type: str, parameters: str, expected: set[str]) -> None:
    page = await samples.search(_query(samples, resource_type, _parameters(parameters)))
    assert {f"{found.resource_type}/{found.id}" for found in page.included} == expected
    assert page.total == len(page.matches)


@pytest.mark.parametrize("sort", ["", "_id", "-date", "date,-status", "-value-quantity,date", "code,-_lastUpdated"])
@pytest.mark.parametrize("count", ["1", "2", "3"])
async def test_pages_together_are_the_whole_in_order(samples: Repository, sort: str, count: str) -> None:
    parameters = [("_sort", sort)] if sort else []
    whole = await samples.search(_query(samples, "Observation", parameters))
    parameters.append(("_count", count))
    found: list[str] = []
    cursor: str | None = None
    while True:
        extra = [("_cursor", cursor)] if cursor else []
        page = await samples.search(_query(samples, "Observation", parameters + extra))
        assert len(page.matches) <= int(count)
        found += [match.id for match in page.matches]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [match.id for match in whole.matches]


async def test_cursor_is_refused_for_another_search_and_when_tampered_with(samples: Repository) -> None:
    page = await samples.search(_query(samples, "Observation", [("_count", "1"), ("_sort", "date")]))
    cursor = page.next_cursor
    assert cursor is not None
    for parameters in (
        [("_count", "1"), ("_sort", "-date"), ("_cursor", cursor)],
        [("_count", "1"), ("_sort", "date"), ("patient", "p1"), ("_cursor", cursor)],
        [("_count", "1"), ("_sort", "date"), ("_cursor", cursor[:-4] + "AAAA")],
        [("_count", "1"), ("_sort", "date"), ("_cursor", "\N{SNOWMAN}")],
        [("_count", "1"), ("_sort", "date"), ("_cursor", "")],
    ):
        with pytest.raises(SearchError) as refused:
            await samples.search(_query(samples, "Observation", parameters))
        assert (refused.value.code, refused.value.parameter) == ("value", "_cursor")


async def test_totals_are_given_as_asked_for(samples: Repository) -> None:
    async def total(*parameters: tuple[str, str]) -> int | None:
        return (await samples.search(_query(samples, "Observation", parameters))).total

    assert await total(("_count", "1")) is None
    assert await total(("_count", "1"), ("_total", "accurate")) == 4
    assert await total(("_count", "1"), ("_total", "estimate"), ("patient", "p1")) == 2
    assert await total(("_total", "none")) is None
    counted = await samples.search(_query(samples, "Observation", [("_summary", "count"), ("patient", "p1")]))
    assert (counted.total, counted.matches) == (2, ())
    assert await samples.search(_query(samples, "Observation", [("_count", "0"), ("patient", "p1")])) == counted


async def test_what_is_written_between_two_pages_shifts_nothing(engine: AsyncEngine, definitions: Definitions) -> None:
    repository = Repository(engine, definitions, schema="assent", clock=SteppingClock())
    for n in range(1, 7):
        await repository.create({"resourceType": "Patient", "birthDate": f"200{n}-01-01"}, id=f"p{n}")
    parameters = [("_sort", "birthdate"), ("_count", "2")]
    first = await repository.search(_query(repository, "Patient", parameters))
    assert [match.id for match in first.matches] == ["p1", "p2"]
    await repository.create({"resourceType": "Patient", "birthDate": "1990-01-01"}, id="older")
    await repository.delete("Patient", "p2")
    await repository.delete("Patient", "p3")
    assert first.next_cursor is not None
    second = await repository.search(_query(repository, "Patient", [*parameters, ("_cursor", first.next_cursor)]))
    assert [match.id for match in second.matches] == ["p4", "p5"]


async def test_cursor_of_a_repository_with_the_same_key_is_good(engine: AsyncEngine, definitions: Definitions) -> None:
    def repository(key: bytes) -> Repository:
        return Repository(engine, definitions, schema="assent", clock=SteppingClock(), cursor_key=key)

    one = repository(b"k" * 32)
    await one.load(SAMPLES)
    cursor = (await one.search(_query(one, "Patient", [("_count", "2")]))).next_cursor
    assert cursor is not None
    query = _query(one, "Patient", [("_count", "2"), ("_cursor", cursor)])
    assert [match.id for match in (await repository(b"k" * 32).search(query)).matches] == ["p3"]
    with pytest.raises(SearchError):
        await repository(b"x" * 32).search(query)
