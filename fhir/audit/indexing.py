"""Makes AuditEvents of the journal's entries, soon after they were written, and leaves the requests their time.

An entry leaves the journal in the transaction that stores its AuditEvent: whoever is killed in between loses none and
doubles none. The same transaction appends to the hash chain (`fhir.audit.chain`). Several processes move entries at
once; only the appending, at the end, is one after the other. Who searches AuditEvents calls `settle` first, so that
what was recorded before the question is in the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.audit.chain import AuditChain, ChainUnavailable
from fhir.audit.event import audit_event
from fhir.audit.journal import AuditJournal, Entry
from fhir.audit.record_use import RecordUse, Use
from fhir.store.passing_failures import passing_failure
from fhir.store.repository import Repository

BATCH: Final = 15
_BUSY_REST: Final = 25.0
"""While records keep coming, for each second of moving so many of rest: requests go first."""
_LEAST_REST_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 10.0
"""How often to look for entries that another process left behind."""
_BACK_OFF_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class AuditIndexing:
    """Moves entries from `journal` into `repository`. One task does; it lives from `start` to `close`."""

    def __init__(self, journal: AuditJournal, repository: Repository) -> None:
        self._journal = journal
        self._repository = repository
        self._use = RecordUse(schema=journal.schema)
        self._chain = AuditChain(schema=journal.schema)
        self._written = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start moving, in the running event loop; first what an earlier process left."""
        self._written.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="audit-indexing")

    async def close(self) -> None:
        """Stop. What is left in the journal is moved after the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Something was journalled."""
        self._written.set()

    async def settle(self, patient: str | None = None) -> None:
        """Return once everything journalled before is searchable: of one patient, or of all."""
        while await self._move(patient=patient, wait=True):
            pass

    async def uses(self, patient: str) -> Mapping[str, Use]:
        """How often each app looked at a patient's record until now, by client_id."""
        await self.settle(patient)
        async with self._journal.engine.connect() as connection:
            return await self._use.of_patient(patient, connection)

    async def _run(self) -> None:
        failed_before = True
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._written.wait()
            except TimeoutError:
                pass
            try:
                if failed_before:  # this release may be able to do what another one couldn't
                    await self._journal.try_failed_again()
                    failed_before = False
                await self._move_all_with_rests()
            except Exception as broken:  # the database is away, most likely: the entries stay where they are
                _log.error("audit_indexing_failed", reason=type(broken).__name__)
                self._written.set()
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _move_all_with_rests(self) -> None:
        moved = BATCH
        while moved:
            self._written.clear()
            begun = time.monotonic()
            moved = await self._move()
            took = time.monotonic() - begun
            await asyncio.sleep(max(_LEAST_REST_SECONDS, took * _BUSY_REST) if self._written.is_set() else 0)

    async def _move(self, *, patient: str | None = None, wait: bool = False) -> int:
        """Move one batch; how many entries were dealt with."""
        entries: list[Entry] = []
        try:
            async with self._journal.engine.begin() as connection:
                entries = await self._journal.take(connection, BATCH, patient=patient, wait=wait)
                if entries:
                    await self._store(entries, connection)
            return len(entries)
        except ChainUnavailable:
            raise
        except Exception:
            if not entries:
                raise
        return await self._move_singly(entries)

    async def _move_singly(self, entries: Sequence[Entry]) -> int:
        """One entry that can't become an AuditEvent must not keep the others."""
        for entry in entries:
            try:
                async with self._journal.engine.begin() as connection:
                    await self._store([entry], connection)
            except ChainUnavailable:
                raise
            except Exception as broken:
                if passing_failure(broken) is not None:  # a full disk, say, where marking would still have room
                    raise
                # Only the kind of fault: its text may quote what was to be written.
                _log.error("audit_record_not_indexed", id=str(entry.id), reason=type(broken).__name__)
                await self._journal.mark_failed(entry)  # raises when it is the database that fails
        return len(entries)

    async def _store(self, entries: Sequence[Entry], connection: AsyncConnection) -> None:
        await self._journal.remove(connection, entries)
        ids = [str(entry.id) for entry in entries]
        known = await self._repository.existing("AuditEvent", ids, connection)
        records = {str(e.id): e.read() for e in entries if str(e.id) not in known}
        events = [{**audit_event(record), "id": id} for id, record in records.items()]
        await self._repository.load(events, connection=connection)
        await self._use.count(records.values(), connection)
        await self._chain.append(connection, ids)
