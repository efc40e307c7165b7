"""A record counts once it is committed; what can't be recorded is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit_event import AuditRecord
from fhir.audit_trail import MAX_BATCH, AuditTrail, AuditUnavailable
from fhir.definitions import load_definitions
from fhir.resource_body import Resource
from fhir.store import Repository

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
RECORD = AuditRecord("read", "R", "0", NOW, "req-1", client_id="app", patient="p1", entities=("Observation/o1",))


class PoisonedRepository(Repository):
    """Refuses what holds the request id `poison`, and counts the transactions."""

    loads = 0

    async def load(self, resources: Iterable[Resource], *, connection: AsyncConnection | None = None) -> int:
        resources = list(resources)
        self.loads += 1
        if "poison" in str(resources):
            raise ValueError("poison")
        return await super().load(resources, connection=connection)


@pytest.fixture
def repository(engine: AsyncEngine) -> PoisonedRepository:
    return PoisonedRepository(engine, load_definitions(), schema="assent", clock=lambda: NOW)


@pytest.fixture
async def trail(repository: PoisonedRepository) -> AsyncIterator[AuditTrail]:
    trail = AuditTrail(repository)
    trail.start()
    yield trail
    await trail.close()


async def stored(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT count(*) FROM assent.fhir_resource"))
        return int(found.scalar_one())


async def test_a_record_is_committed_when_it_returns(trail: AuditTrail, engine: AsyncEngine) -> None:
    await trail.record(RECORD)
    assert await stored(engine) == 1


async def test_concurrent_records_share_commits(
    trail: AuditTrail, repository: PoisonedRepository, engine: AsyncEngine
) -> None:
    await asyncio.gather(*(trail.record(RECORD) for _ in range(700)))
    assert await stored(engine) == 700
    assert repository.loads == 700 // MAX_BATCH


async def test_one_record_that_fails_takes_no_other_along(trail: AuditTrail, engine: AsyncEngine) -> None:
    poison = replace(RECORD, request_id="poison")
    results = await asyncio.gather(*(trail.record(r) for r in (RECORD, poison, RECORD)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), AuditUnavailable, type(None)]
    assert await stored(engine) == 2


async def test_a_record_in_the_callers_transaction_stands_and_falls_with_it(
    trail: AuditTrail, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        await trail.record(RECORD, connection)
        await connection.rollback()
        assert await stored(engine) == 0
        await trail.record(RECORD, connection)
        await connection.commit()
    assert await stored(engine) == 1


async def test_a_failed_record_in_the_callers_transaction_is_told(trail: AuditTrail, engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(AuditUnavailable):
            await trail.record(replace(RECORD, request_id="poison"), connection)


async def test_closing_writes_what_waits_and_then_takes_nothing(
    repository: PoisonedRepository, engine: AsyncEngine
) -> None:
    trail = AuditTrail(repository)
    trail.start()
    waiting = [asyncio.create_task(trail.record(RECORD)) for _ in range(3)]
    await asyncio.sleep(0)
    await trail.close()
    await asyncio.gather(*waiting)
    assert await stored(engine) == 3
    with pytest.raises(AuditUnavailable):
        await trail.record(RECORD)


async def test_a_database_that_refuses_is_told_to_everyone_who_waits(trail: AuditTrail, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE assent.fhir_resource RENAME TO gone"))
    results = await asyncio.gather(*(trail.record(RECORD) for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {AuditUnavailable}
