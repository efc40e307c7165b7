"""A record counts once it is committed, becomes an AuditEvent once, and what can't be recorded is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit.event import AuditRecord
from fhir.audit.indexing import BATCH, AuditIndexing
from fhir.audit.journal import AuditJournal, Entry, entry_of
from fhir.audit.trail import MAX_BATCH, AuditTrail, AuditUnavailable
from fhir.r4.definitions import load_definitions
from fhir.r4.resource_body import Resource
from fhir.search.query import parse_search
from fhir.store.prepared_statement import HeldConnection
from fhir.store.repository import Repository

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
RECORD = AuditRecord("read", "R", "0", NOW, "req-1", client_id="app", patient="p1", entities=("Observation/o1",))


class PoisonedRepository(Repository):
    """Refuses what holds the request id `poison`."""

    async def load(self, resources: Iterable[Resource], *, connection: AsyncConnection | None = None) -> int:
        resources = list(resources)
        if "poison" in str(resources):
            raise ValueError("poison")
        return await super().load(resources, connection=connection)


class CountingJournal(AuditJournal):
    """Counts the statements that write, and fails after the commit of the first when told to."""

    appends = 0
    lose_answer = False

    async def append(self, entries: Sequence[Entry], held: HeldConnection | None = None) -> None:
        self.appends += 1
        await super().append(entries, held)
        if self.lose_answer:
            self.lose_answer = False
            raise ConnectionResetError("the answer to the commit was lost")


@pytest.fixture
def repository(engine: AsyncEngine) -> PoisonedRepository:
    return PoisonedRepository(engine, load_definitions(), schema="assent", clock=lambda: NOW)


@pytest.fixture
def journal(engine: AsyncEngine) -> CountingJournal:
    return CountingJournal(engine, schema="assent")


@pytest.fixture
def indexing(journal: AuditJournal, repository: Repository) -> AuditIndexing:
    return AuditIndexing(journal, repository)


@pytest.fixture
async def trail(journal: AuditJournal, indexing: AuditIndexing) -> AsyncIterator[AuditTrail]:
    trail = AuditTrail(journal, indexing)
    trail.start()
    yield trail
    await trail.close()


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        found = await connection.execute(text(f"SELECT count(*) FROM assent.{table}"))  # noqa: S608 - ours
        return int(found.scalar_one())


async def recorded(engine: AsyncEngine) -> int:
    """Records that are on disk, as what they are already or still will be."""
    async with engine.connect() as connection:
        both = "SELECT (SELECT count(*) FROM assent.audit_journal) + (SELECT count(*) FROM assent.fhir_resource)"
        return int((await connection.execute(text(both))).scalar_one())


async def until_an_event_is_there(engine: AsyncEngine) -> None:
    async with asyncio.timeout(20):
        while await count(engine, "fhir_resource") < 1:  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)


def test_ids_grow_with_time_to_the_microsecond() -> None:
    moments = [datetime(2026, 3, 1, 12, 0, 0, us, UTC) for us in (0, 1, 2, 499, 500, 999, 1000, 1001, 999_999)]
    ids = [
        entry_of(replace(RECORD, recorded=moment)).id for moment in [*moments, datetime(2026, 3, 1, 12, 0, 1, 0, UTC)]
    ]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {id.version for id in ids} == {7}
    assert ids[0].int >> 80 == 1_772_366_400_000


async def test_a_record_is_committed_when_it_returns(trail: AuditTrail, engine: AsyncEngine) -> None:
    await trail.record(RECORD)
    assert await recorded(engine) == 1


async def test_a_settled_record_is_a_searchable_audit_event(trail: AuditTrail, repository: Repository) -> None:
    await trail.record(RECORD)
    await trail.settle("p1")
    query = parse_search("AuditEvent", (("patient", "Patient/p1"),), repository.definitions, max_count=10)
    (found,) = (await repository.search(query)).matches
    event = msgspec.json.decode(found.body)
    assert event["recorded"] == "2024-06-01T12:00:00.000000Z"
    assert event["id"] == found.id


async def test_settling_one_patient_leaves_the_others_for_later(
    journal: AuditJournal, indexing: AuditIndexing, engine: AsyncEngine
) -> None:
    await journal.append([entry_of(replace(RECORD, patient=name)) for name in ("p1", "p2", "p1")])
    await indexing.settle("p1")
    assert (await count(engine, "audit_journal"), await count(engine, "fhir_resource")) == (1, 2)


async def test_records_become_audit_events_by_themselves(trail: AuditTrail, engine: AsyncEngine) -> None:
    await trail.record(RECORD)
    await until_an_event_is_there(engine)
    assert await count(engine, "audit_journal") == 0


async def test_concurrent_records_share_commits(
    trail: AuditTrail, journal: CountingJournal, engine: AsyncEngine
) -> None:
    await asyncio.gather(*(trail.record(RECORD) for _ in range(2 * MAX_BATCH)))
    assert journal.appends == 2
    await trail.settle()
    assert (await count(engine, "audit_journal"), await count(engine, "fhir_resource")) == (0, 2 * MAX_BATCH)


async def test_two_processes_that_move_at_once_lose_and_double_nothing(
    journal: AuditJournal, repository: Repository, engine: AsyncEngine
) -> None:
    await journal.append([entry_of(RECORD) for _ in range(3 * BATCH + 7)])
    await asyncio.gather(*(AuditIndexing(journal, repository).settle() for _ in range(3)))
    assert (await count(engine, "audit_journal"), await count(engine, "fhir_resource")) == (0, 3 * BATCH + 7)


async def test_a_commit_whose_answer_was_lost_is_written_once(
    trail: AuditTrail, journal: CountingJournal, engine: AsyncEngine
) -> None:
    journal.lose_answer = True
    await trail.record(RECORD)
    assert journal.appends == 2
    await trail.settle()
    assert await count(engine, "fhir_resource") == 1


async def test_a_record_written_again_after_it_became_an_event_stands_once(
    journal: AuditJournal, indexing: AuditIndexing, engine: AsyncEngine
) -> None:
    entry = entry_of(RECORD)
    for _ in range(2):
        await journal.append([entry])
        await indexing.settle()
    assert (await count(engine, "audit_journal"), await count(engine, "fhir_resource")) == (0, 1)


async def test_what_an_earlier_process_left_is_moved_at_the_start(
    journal: AuditJournal, repository: Repository, engine: AsyncEngine
) -> None:
    await journal.append([entry_of(RECORD)])
    indexing = AuditIndexing(journal, repository)
    indexing.start()
    await until_an_event_is_there(engine)
    await indexing.close()


async def test_one_record_that_cannot_become_an_event_keeps_no_other(
    trail: AuditTrail, journal: AuditJournal, engine: AsyncEngine
) -> None:
    poison = replace(RECORD, request_id="poison")
    await asyncio.gather(*(trail.record(r) for r in (RECORD, poison, RECORD)))
    await trail.settle()
    assert await count(engine, "fhir_resource") == 2
    assert await journal.counts() == (1, 1)


async def test_a_query_that_is_no_unicode_is_recorded_all_the_same(trail: AuditTrail, engine: AsyncEngine) -> None:
    await trail.record(replace(RECORD, kind="search", action="E", query="Patient?name=\ud800"))
    await trail.settle()
    assert await count(engine, "fhir_resource") == 1


async def test_a_record_in_the_callers_transaction_stands_and_falls_with_it(
    trail: AuditTrail, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        await trail.record(RECORD, connection)
        await connection.rollback()
        assert await recorded(engine) == 0
        await trail.record(RECORD, connection)
        await connection.commit()
    assert await recorded(engine) == 1


async def test_closing_writes_what_waits_and_then_takes_nothing(
    journal: AuditJournal, indexing: AuditIndexing, engine: AsyncEngine
) -> None:
    trail = AuditTrail(journal, indexing)
    trail.start()
    waiting = [asyncio.create_task(trail.record(RECORD)) for _ in range(3)]
    await asyncio.sleep(0)
    await trail.close()
    await asyncio.gather(*waiting)
    assert await recorded(engine) == 3
    with pytest.raises(AuditUnavailable):
        await trail.record(RECORD)


async def test_a_database_that_refuses_is_told_to_everyone_who_waits(trail: AuditTrail, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE assent.audit_journal RENAME TO gone"))
    results = await asyncio.gather(*(trail.record(RECORD) for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {AuditUnavailable}
    async with engine.connect() as connection:
        with pytest.raises(AuditUnavailable):
            await trail.record(RECORD, connection)


async def test_ids_are_uuids_of_version_7_that_grow_with_time() -> None:
    entries = [entry_of(replace(RECORD, recorded=NOW.replace(microsecond=1000 * n))) for n in range(50)]
    assert [e.id.version for e in entries] == [7] * 50
    assert [e.id for e in entries] == sorted(e.id for e in entries)


async def test_what_each_app_looked_at_is_counted_once(engine: AsyncEngine, trail: AuditTrail) -> None:
    later = NOW.replace(hour=13)
    looks = [
        RECORD,
        replace(RECORD, kind="search", action="E", recorded=later, query="Observation"),
        replace(RECORD, client_id="other"),
        replace(RECORD, patient="p2"),
        replace(RECORD, outcome="4"),
        replace(RECORD, kind="token", action="E"),
        replace(RECORD, client_id=None),
        replace(RECORD, patient=None),
    ]
    for look in looks:
        await trail.record(look)
    assert await trail.uses("p1") == {"app": (2, later), "other": (1, NOW)}
    await trail.record(RECORD)
    assert await trail.uses("p1") == {"app": (3, later), "other": (1, NOW)}
    assert await trail.uses("nobody") == {}


async def test_movers_at_once_count_every_look(engine: AsyncEngine, journal: AuditJournal) -> None:
    repository = Repository(engine, load_definitions(), schema="assent", clock=lambda: NOW)
    patients = [f"p{n % 7}" for n in range(3 * BATCH)]
    await journal.append([entry_of(replace(RECORD, patient=p, client_id=f"a{n % 3}")) for n, p in enumerate(patients)])
    movers = [AuditIndexing(journal, repository) for _ in range(4)]
    await asyncio.gather(*(mover.settle() for mover in movers))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT sum(times) FROM assent.record_use"))).scalar_one() == 3 * BATCH


async def test_a_connection_that_is_lost_between_two_records_loses_neither(
    trail: AuditTrail, journal: CountingJournal, engine: AsyncEngine
) -> None:
    await trail.record(RECORD)
    async with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))
    await trail.record(RECORD)
    await trail.settle()
    assert journal.appends >= 2
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT count(*) FROM assent.fhir_resource WHERE resource_type = 'AuditEvent'")
        )
    assert kept == 2


async def test_a_full_disk_is_not_the_fault_of_the_records(
    journal: AuditJournal, indexing: AuditIndexing, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.append([entry_of(RECORD), entry_of(replace(RECORD, request_id="req-2"))])
    with monkeypatch.context() as full:

        async def no_room(*_: object, **__: object) -> int:
            raise asyncpg.DiskFullError("could not extend file")

        full.setattr(Repository, "load", no_room)
        with pytest.raises(asyncpg.DiskFullError):
            await indexing.settle()
    assert await journal.counts() == (2, 0)
    await indexing.settle()
    assert (await journal.counts(), await count(engine, "fhir_resource")) == ((0, 0), 2)


async def test_what_could_not_become_an_event_is_tried_again_by_the_next_start(
    journal: AuditJournal, indexing: AuditIndexing, engine: AsyncEngine
) -> None:
    await journal.append([entry := entry_of(RECORD)])
    await journal.mark_failed(entry)
    await indexing.settle()
    assert await journal.counts() == (1, 1)
    indexing.start()
    await until_an_event_is_there(engine)
    await indexing.close()
    assert await journal.counts() == (0, 0)
