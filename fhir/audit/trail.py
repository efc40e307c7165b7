"""The durable record of what happened: an answer leaves only after its record is committed (docs/leaks.md).

Concurrent requests share one commit: while a batch is being written, the next one gathers. What can't be recorded
must not happen, so whoever gets AuditUnavailable refuses. Records become AuditEvents afterwards
(`fhir.audit.indexing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.audit.event import AuditRecord
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal, Entry, entry_of
from fhir.audit.record_use import Use
from fhir.store.prepared_statement import HeldConnection

MAX_BATCH: Final = 500
MAX_WAITING: Final = 10_000
_WRITE_SECONDS: Final = 10.0
_ATTEMPTS: Final = 2
"""When it is unknown whether a commit came through, writing again can't double: an entry keeps its id."""

_Waiting = tuple[Entry, asyncio.Future[None]]
_log = structlog.get_logger(__name__)


class AuditUnavailable(RuntimeError):
    """The record could not be written."""


class AuditTrail:
    """Writes records into `journal` and tells `indexing` of them. One task writes, from `start` to `close`."""

    def __init__(self, journal: AuditJournal, indexing: AuditIndexing) -> None:
        self._journal = journal
        self._indexing = indexing
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(MAX_WAITING + 1)
        self._task: asyncio.Task[None] | None = None
        self._held = HeldConnection(journal.engine)

    def start(self) -> None:
        """Start writing, in the running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._write_batches(), name="audit-trail")
            self._indexing.start()

    async def close(self) -> None:
        """Write what waits, then stop."""
        task, self._task = self._task, None
        if task is not None:
            # One place is kept free for this: see `record`.
            self._queue.put_nowait(None)
            try:
                await task
            finally:
                await self._held.close()
        await self._indexing.close()

    async def record(self, record: AuditRecord, connection: AsyncConnection | None = None) -> None:
        """Return once the record is committed; with `connection`, once it is part of that transaction.

        Raises AuditUnavailable.
        """
        entry = entry_of(record)
        if connection is not None:
            await self._join(entry, connection)
            return
        if self._task is None or self._task.done() or self._queue.qsize() >= MAX_WAITING:
            raise AuditUnavailable("the audit trail takes no records at the moment")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((entry, written))
        await written

    async def record_all(self, records: Sequence[AuditRecord]) -> None:
        """Return once all are committed, which may be one after another. Raises AuditUnavailable."""
        if len(records) == 1:
            await self.record(records[0])
        else:
            await asyncio.gather(*(self.record(record) for record in records))

    async def settle(self, patient: str | None = None) -> None:
        """As `AuditIndexing.settle`: call it before AuditEvents are searched."""
        await self._indexing.settle(patient)

    async def uses(self, patient: str) -> Mapping[str, Use]:
        """As `AuditIndexing.uses`."""
        return await self._indexing.uses(patient)

    async def _join(self, entry: Entry, connection: AsyncConnection) -> None:
        try:
            await self._journal.append_in(entry, connection)
        except Exception as broken:  # whatever went wrong, it isn't recorded
            raise AuditUnavailable("the record could not be written") from broken
        self._indexing.wake()

    async def _write_batches(self) -> None:
        open_for_more = True
        while open_for_more:
            first = await self._queue.get()
            batch: list[_Waiting] = []
            while first is not None:
                batch.append(first)
                if len(batch) == MAX_BATCH or self._queue.empty():
                    break
                first = self._queue.get_nowait()
            open_for_more = first is not None
            if batch:
                await self._write(batch)

    async def _write(self, batch: list[_Waiting]) -> None:
        entries = [entry for entry, _ in batch]
        written = await self._appended(entries)
        for _, waiting in batch:
            if waiting.done():  # its request was cancelled
                continue
            if written:
                waiting.set_result(None)
            else:
                waiting.set_exception(AuditUnavailable("the record could not be written"))
        if written:
            self._indexing.wake()

    async def _appended(self, entries: list[Entry]) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._journal.append(entries, self._held)
            except Exception as broken:  # whatever went wrong, nothing counts as recorded
                # Only the kind of fault: its text may quote what was to be written.
                _log.error("audit_write_failed", records=len(entries), reason=type(broken).__name__)
            else:
                return True
        return False
