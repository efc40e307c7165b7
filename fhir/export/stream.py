"""Streams one type of an export: batches of the upstream's lines, filtered, recorded, sent, in constant memory.

A batch is decided and on record before its bytes leave, and holds at most what arrived in half a second. So whoever
revokes is gone from the next one on, and so is whoever may read no more (docs/leaks.md L41, L62).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

import structlog

from fhir.audit.event import AuditRecord
from fhir.export.filter import ExportFilter, records_of
from fhir.export.lines import BrokenExport, LineSplitter
from fhir.export.upstream import NDJSON, ExportUpstream
from fhir.proxy.responses import Receive, Send

_log: Final = structlog.get_logger(__name__)
MOST_LINES: Final = 1_000
MOST_BYTES: Final = 1024 * 1024
IDLE_SECONDS: Final = 0.2
"""Silence of the upstream after which what has arrived is sent."""
GATHER_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 1.0
"""Silence after which it is asked whether the download may go on."""
SEND_SECONDS: Final = 60.0
"""How long a client may take none of what is sent."""
_HEADERS: Final = (
    (b"content-type", NDJSON.encode()),
    (b"cache-control", b"no-store"),
    (b"vary", b"authorization, accept, origin"),
    (b"x-content-type-options", b"nosniff"),
)

Batches = AsyncIterator[list[bytes]]
Record = Callable[[Sequence[AuditRecord]], Awaitable[None]]


async def batches(upstream: ExportUpstream, kind: str, urls: Sequence[str], max_line: int) -> Batches:
    """The lines of files of one type, one file after the other; an empty batch when no line arrives for a while.

    Raises BrokenExport and UpstreamFailure.
    """
    batch: list[bytes] = []
    size, begun = 0, time.monotonic()
    for url in urls:
        async with upstream.open(url) as file:
            splitter, piece = LineSplitter(max_line, gzip=file.gzip), b"-"
            while piece:
                try:
                    async with asyncio.timeout(IDLE_SECONDS if batch else LOOK_SECONDS):
                        piece = await file.read()
                except TimeoutError:
                    yield batch
                    batch, size, begun = [], 0, time.monotonic()
                    continue
                for lines in splitter.feed(piece) if piece else splitter.end():
                    for line in lines:
                        batch.append(line)
                        size += len(line)
                        if len(batch) == MOST_LINES or size >= MOST_BYTES:
                            yield batch
                            batch, size, begun = [], 0, time.monotonic()
                    if time.monotonic() - begun > GATHER_SECONDS:
                        yield batch
                        batch, size, begun = [], 0, time.monotonic()
                    await asyncio.sleep(0)
            if splitter.left_out:
                _log.warning("upstream_fails_at_one", type=kind, kind="too-large", lines=splitter.left_out)
    yield batch


class ExportStream:
    """One download."""

    def __init__(
        self,
        given: Batches,
        lines: ExportFilter,
        record: Record,
        goes_on: Callable[[], Awaitable[bool]],
        clock: Callable[[], datetime],
        request_id: str,
    ) -> None:
        """`record` returns once records are durable; `goes_on` says whether the client may still have the file."""
        self._given = given
        self._lines = lines
        self._record = record
        self._goes_on = goes_on
        self._clock = clock
        self._request_id = request_id

    async def send(self, receive: Receive, send: Send) -> None:
        """Answer 200 with what may be seen. Raises what goes wrong before the first byte.

        Raises BrokenExport afterwards: the answer has no end then, and the connection must break.
        """
        gone = asyncio.ensure_future(_disconnected(receive))
        started = False
        try:
            async with aclosing(self._given):  # type: ignore[type-var]  # it is a generator
                async for batch in self._given:
                    body = await self._passed(batch)
                    if gone.done():
                        return
                    if not started:
                        await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
                        started = True
                    if body:
                        await _sent(send, body)
            await send({"type": "http.response.body", "body": b""})
        except Exception as broken:
            if started and not isinstance(broken, BrokenExport):
                raise BrokenExport("ended") from None  # whatever it was: its text may say of what
            raise
        finally:
            gone.cancel()

    async def _passed(self, batch: Sequence[bytes]) -> bytes:
        """What may leave of a batch, on record."""
        if not await self._goes_on():
            raise BrokenExport("ended")
        passed = await self._lines.passed(batch, self._clock())
        if passed.seen:
            await self._record(records_of(passed, self._request_id, self._clock()))
        return passed.body


async def _sent(send: Send, body: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": True})
    except TimeoutError:
        raise BrokenExport("unsent") from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
