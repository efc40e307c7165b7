"""The record of one write: what is intended before the upstream is asked, what came of it after (docs/audit.md).

A write that can't be recorded doesn't happen. One whose outcome isn't known or can't be recorded has its intent on
record.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from fhir.audit.event import DONE, Outcome
from fhir.audit.trail import AuditUnavailable
from fhir.proxy.access_records import record_of_write
from fhir.proxy.parts import Asked, ProxyParts
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.still_open import check_still_open
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.writes import Written

_NOT_DONE: Final = "not done"


class WriteRecording:
    """Records one write. `categories`: codes of what is written."""

    def __init__(self, parts: ProxyParts, asked: Asked, categories: frozenset[str]) -> None:
        self._parts = parts
        self._asked = asked
        self._categories = categories
        self._entity: str | None = None

    async def intend(self, entity: str | None) -> None:
        """Before the upstream is asked. Raises AuditUnavailable, and ProxyRefusal when the app may do it no more."""
        asked = self._asked
        await check_still_open(self._parts, asked.request, asked.interaction, (asked.plan,), asked.now)
        self._entity = entity
        await self._record("0", "intended; what came of it is another event of the same request")

    async def watch(self, asking: Awaitable[Written]) -> Written:
        """Ask, and record when there is no answer. Raises UpstreamFailure."""
        try:
            return await asking
        except UpstreamFailure as failure:
            if failure.kind == "paused":  # nothing was sent
                await self._told("8", _NOT_DONE)
            else:
                await self.failed("8")
            raise

    async def failed(self, outcome: Outcome) -> None:
        """It wasn't done (4), or nobody knows (8)."""
        await self._told(outcome, _NOT_DONE if outcome == "4" else "it isn't known whether it was done")

    async def done(self, entity: str) -> None:
        """It was done. Raises ProxyRefusal when that can't be recorded."""
        self._entity = entity
        await self._told("0", DONE)

    async def _told(self, outcome: Outcome, description: str) -> None:
        try:
            await self._record(outcome, description)
        except AuditUnavailable:
            text = "what came of the write can't be recorded now; read before you write again"
            raise ProxyRefusal(503, "transient", text) from None

    async def _record(self, outcome: Outcome, description: str) -> None:
        asked = self._asked
        record = record_of_write(
            asked.request,
            asked.access,
            asked.interaction,
            self._parts.clock(),
            entity=self._entity,
            categories=self._categories,
            outcome=outcome,
            description=description,
            upstream=self._parts.source_name(asked.interaction.resource_type),
        )
        await self._parts.audit.record(record)
