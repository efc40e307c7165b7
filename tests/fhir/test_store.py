"""The repository's versions, conflicts, bytes and transactions, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.r4.definitions import Definitions, load_definitions
from fhir.search.query import parse_search
from fhir.store.repository import Repository, VersionConflict
from fhir.store.tables import VALUE_TABLES
from tests.fhir.store_samples import SAMPLES, START, SteppingClock

PATIENT = b'{"resourceType":"Patient","id":"a","name":[{"family":"One"}],"multipleBirthInteger":2}'


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture
def repository(engine: AsyncEngine, definitions: Definitions) -> Repository:
    return Repository(engine, definitions, schema="assent", clock=SteppingClock())


async def _ids(repository: Repository, resource_type: str, **parameters: str) -> list[str]:
    query = parse_search(resource_type, list(parameters.items()), repository.definitions, max_count=100)
    return [match.id for match in (await repository.search(query)).matches]


async def test_created_resource_is_version_1_with_id_and_meta_of_the_store(repository: Repository) -> None:
    stored = await repository.create(b'{"resourceType":"Patient","meta":{"profile":["urn:p"],"versionId":"9"}}', id="x")
    assert stored.version == 1
    assert stored.last_updated == START
    assert stored.body == (
        b'{"resourceType":"Patient","id":"x",'
        b'"meta":{"profile":["urn:p"],"versionId":"1","lastUpdated":"2024-06-01T12:00:00.000Z"}}'
    )
    assert await repository.read("Patient", "x") == stored


async def test_number_text_and_order_of_a_body_given_as_bytes_survive(repository: Repository) -> None:
    given = (
        b'{"valueQuantity": {"value": 1.50, "x":1e3},"resourceType":"Observation",'
        b'"status":"final","note":[{"text":"\\u00e9"}]}'
    )
    stored = await repository.create(given, id="n")
    assert b'"valueQuantity":{"value": 1.50, "x":1e3}' in stored.body
    assert b'"note":[{"text":"\\u00e9"}]' in stored.body
    found = await repository.read("Observation", "n")
    assert found is not None
    assert found.body == stored.body


async def test_create_under_a_taken_id_is_a_conflict_that_leaves_the_transaction_usable(
    repository: Repository, engine: AsyncEngine
) -> None:
    await repository.create(PATIENT, id="a")
    async with engine.begin() as connection:
        with pytest.raises(VersionConflict):
            await repository.create(PATIENT, id="a", connection=connection)
        await repository.create(PATIENT, id="b", connection=connection)
    assert await repository.read("Patient", "b") is not None


async def test_update_makes_the_next_version_and_keeps_the_one_before(repository: Repository) -> None:
    first = await repository.create(PATIENT, id="a")
    second = await repository.update(PATIENT.replace(b"One", b"Two"), expected_version=1)
    assert second.version == 2
    assert await repository.vread("Patient", "a", 1) == first
    assert await repository.history("Patient", "a") == [second, first]
    assert await _ids(repository, "Patient", name="two") == ["a"]
    assert await _ids(repository, "Patient", name="one") == []


async def test_update_from_another_version_is_a_conflict_and_changes_nothing(repository: Repository) -> None:
    first = await repository.create(PATIENT, id="a")
    with pytest.raises(VersionConflict):
        await repository.update(PATIENT, expected_version=2)
    with pytest.raises(VersionConflict):
        await repository.update(PATIENT.replace(b'"a"', b'"nobody"'), expected_version=1)
    assert await repository.history("Patient", "a") == [first]
    assert await repository.read("Patient", "nobody") is None


async def test_update_without_expected_version_creates_what_is_not_there(repository: Repository) -> None:
    assert (await repository.update(PATIENT, expected_version=None)).version == 1
    assert (await repository.update(PATIENT, expected_version=None)).version == 2


async def test_of_two_updates_of_one_version_one_is_a_conflict(repository: Repository) -> None:
    await repository.create(PATIENT, id="a")
    outcomes = await asyncio.gather(
        *(repository.update(PATIENT, expected_version=1) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 5
    assert [version.version for version in await repository.history("Patient", "a")] == [2, 1]


async def test_deleted_resource_is_read_as_deleted_and_found_by_no_search(
    repository: Repository, engine: AsyncEngine
) -> None:
    first = await repository.create(PATIENT, id="a")
    gone = await repository.delete("Patient", "a", expected_version=1)
    assert (gone.version, gone.deleted, gone.body) == (2, True, b"")
    assert await repository.read("Patient", "a") == gone
    assert await repository.delete("Patient", "a") == gone
    assert await repository.history("Patient", "a") == [gone, first]
    assert await _ids(repository, "Patient") == []
    async with engine.connect() as connection:
        for table in VALUE_TABLES:
            assert (await connection.execute(text(f"SELECT count(*) FROM assent.{table}"))).scalar_one() == 0  # noqa: S608  # constant names
    again = await repository.update(PATIENT, expected_version=2)
    assert (again.version, again.deleted) == (3, False)
    assert await _ids(repository, "Patient") == ["a"]


async def test_writes_joined_to_a_transaction_go_with_it(repository: Repository, engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await repository.create(PATIENT, id="a", connection=connection)
        await repository.load(SAMPLES, connection=connection)
        assert await repository.read("Patient", "a", connection) is not None
        assert await repository.read("Patient", "a") is None
        await connection.rollback()
    assert await repository.read("Patient", "a") is None
    assert await repository.read("Patient", "p1") is None


async def test_load_stores_all_or_nothing(repository: Repository) -> None:
    assert await repository.load(SAMPLES) == len(SAMPLES)
    found = await repository.read("Patient", "p1")
    assert found is not None
    assert found.version == 1
    assert await repository.vread("Patient", "p1", 1) == found
    with pytest.raises(ValueError, match="resourceType"):
        await repository.load([PATIENT, b'{"resourceType":"Nothing"}'])
    with pytest.raises(VersionConflict):
        await repository.load([PATIENT, SAMPLES[0]])
    assert await repository.read("Patient", "a") is None


async def test_loading_lets_others_have_their_turn_after_each_resource(
    engine: AsyncEngine, definitions: Definitions
) -> None:
    """AuditEvents are loaded while requests are answered."""
    turns = 0
    turn_of_each: list[int] = []

    def clock() -> datetime:
        turn_of_each.append(turns)
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    many = [b'{"resourceType":"Patient","id":"many%d"}' % number for number in range(50)]
    await Repository(engine, definitions, schema="assent", clock=clock).load(many)
    counting.cancel()
    assert len(set(turn_of_each)) == len(many)


async def test_loaded_and_created_resources_are_found_alike(engine: AsyncEngine, definitions: Definitions) -> None:
    repository = Repository(engine, definitions, schema="assent", clock=SteppingClock())
    columns = {}
    for way in ("load", "create"):
        await (repository.load([SAMPLES[5]]) if way == "load" else repository.create(SAMPLES[5], id="o1b"))
        found = []
        async with engine.connect() as connection:
            for name in VALUE_TABLES:
                rows = await connection.execute(text(f"SELECT * FROM assent.{name}"))  # noqa: S608  # constant names
                found += [(name, *row[1:]) for row in rows]
                await connection.execute(text(f"TRUNCATE assent.{name}"))
            await connection.commit()
        columns[way] = sorted(map(str, found))
    assert columns["load"] == columns["create"]
    assert columns["load"]


async def test_a_read_is_one_statement_and_a_search_three_at_most(repository: Repository, engine: AsyncEngine) -> None:
    await repository.load(SAMPLES)
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await repository.read("Patient", "p1")
    assert len(statements) == 1
    statements.clear()
    parameters = [
        ("_include", "Observation:subject"),
        ("_include", "Observation:performer"),
        ("_total", "accurate"),
        ("_count", "1"),
        ("_sort", "-date"),
    ]
    await repository.search(parse_search("Observation", parameters, repository.definitions, max_count=10))
    assert len(statements) == 3


async def test_values_longer_than_what_is_indexed_are_stored(repository: Repository) -> None:
    name = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 5000
    stored = await repository.create({"resourceType": "Patient", "name": [{"family": name}]})
    assert await _ids(repository, "Patient", family="e" * 200) == [stored.id]


async def test_resource_of_unknown_type_is_refused(repository: Repository) -> None:
    with pytest.raises(ValueError, match="resourceType"):
        await repository.create({"resourceType": "Pirate"})


@pytest.mark.parametrize("id", ["", "a/b", "a b", "x" * 65, "\N{LATIN SMALL LETTER E WITH ACUTE}", "a\n"])
async def test_id_that_is_no_fhir_id_is_refused(repository: Repository, id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        await repository.update({"resourceType": "Patient", "id": id}, expected_version=None)


async def test_time_of_a_version_is_cut_to_what_its_meta_shows(engine: AsyncEngine, definitions: Definitions) -> None:
    at = START + timedelta(microseconds=123_999)
    repository = Repository(engine, definitions, schema="assent", clock=lambda: at)
    stored = await repository.create(PATIENT, id="a")
    assert stored.last_updated == START + timedelta(microseconds=123_000)
    assert b'"lastUpdated":"2024-06-01T12:00:00.123Z"' in stored.body


async def test_stores_in_two_schemas_know_nothing_of_each_other(engine: AsyncEngine, definitions: Definitions) -> None:
    from fhir.store.tables import store_metadata

    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA other"))
        await connection.run_sync(store_metadata("other").create_all)
    one = Repository(engine, definitions, schema="assent", clock=SteppingClock())
    two = Repository(engine, definitions, schema="other", clock=SteppingClock())
    await one.create(PATIENT, id="a")
    await two.load(SAMPLES)
    assert await two.read("Patient", "a") is None
    assert await _ids(one, "Patient") == ["a"]
    async with engine.connect() as connection:
        assert (await connection.execute(select(store_metadata("other").tables["other.fhir_resource"]))).first()
