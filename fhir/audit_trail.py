"""The durable record of what happened: an answer leaves only after its AuditEvent is committed (docs/leaks.md).

Concurrent requests share one commit: while a batch is being written, the next one gathers. What can't be recorded
must not happen, so whoever gets AuditUnavailable refuses. A record is written at least once: when it is unknown
whether a commit came through, it is tried again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.audit_event import AuditRecord, audit_event
from fhir.store import Repository

MAX_BATCH: Final = 100
"""Indexing a batch holds the event loop up for about a millisecond a record, and larger ones were no faster."""
MAX_WAITING: Final = 10_000
_WRITE_SECONDS: Final = 10.0
_LOST_CAUSE: Final = 3
"""So many failures in a row mean that it is the database, not a record."""

_Waiting = tuple[dict[str, object], asyncio.Future[None]]
_log = structlog.get_logger(__name__)


class AuditUnavailable(RuntimeError):
    """The record could not be written."""


class AuditTrail:
    """Writes AuditEvents into `repository`. One task writes; it lives from `start` to `close`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(MAX_WAITING + 1)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing, in the running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._write_batches(), name="audit-trail")

    async def close(self) -> None:
        """Write what waits, then stop."""
        task, self._task = self._task, None
        if task is not None:
            # One place is kept free for this: see `record`.
            self._queue.put_nowait(None)
            await task

    async def record(self, record: AuditRecord, connection: AsyncConnection | None = None) -> None:
        """Return once the record is committed; with `connection`, once it is part of that transaction.

        Raises AuditUnavailable.
        """
        event = audit_event(record)
        if connection is not None:
            await self._join(event, connection)
            return
        if self._task is None or self._task.done() or self._queue.qsize() >= MAX_WAITING:
            raise AuditUnavailable("the audit trail takes no records at the moment")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((event, written))
        await written

    async def _join(self, event: dict[str, object], connection: AsyncConnection) -> None:
        try:
            await self._repository.load([event], connection=connection)
        except Exception as broken:  # whatever went wrong, it isn't recorded
            raise AuditUnavailable("the record could not be written") from broken

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
        if await self._written(batch):
            _release(batch)
            return
        # One record that the store refuses must not take the others along.
        failures = 0
        for waiting in batch:
            if failures < _LOST_CAUSE and len(batch) > 1 and await self._written([waiting]):
                failures = 0
                _release([waiting])
                continue
            failures += 1
            written = waiting[1]
            if not written.done():
                written.set_exception(AuditUnavailable("the record could not be written"))

    async def _written(self, batch: list[_Waiting]) -> bool:
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._repository.load([event for event, _ in batch])
        except Exception as broken:  # whatever went wrong, nothing counts as recorded
            # Only the kind of fault: its text may quote what was to be written.
            _log.error("audit_write_failed", records=len(batch), reason=type(broken).__name__)
            return False
        return True


def _release(batch: list[_Waiting]) -> None:
    for _, written in batch:
        if not written.done():  # its request may have been cancelled
            written.set_result(None)
