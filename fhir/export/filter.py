"""What of an export's lines may be seen, by the consents of this moment: one batch at a time (docs/leaks.md L41, L62).

A line is one resource, decided on its own content as if it had been read alone, and minimized. What is withheld leaves
nothing behind. Nothing is remembered from one batch to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec
import structlog

from fhir.audit.event import AuditRecord
from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.medications import Medications
from fhir.proxy.origins import PROVENANCE, Origins, OriginsByContent
from fhir.proxy.read_plans import ReadPlans
from fhir.proxy.resource_view import ResourceViews
from fhir.proxy.shown import Show, Shown
from policies.decide import ReadPlan
from policies.model import ResourceFacts

_log: Final = structlog.get_logger(__name__)
MOST_CANDIDATES: Final = 50_000
"""Patients who may share, kept while a batch is decided; if there are more, each one's consents are asked."""
_TURN: Final = 16
"""Lines that are decided before others get their turn."""


@dataclass(slots=True)
class Seen:
    """What a batch shows of one patient, or of nobody."""

    plan: ReadPlan
    names: list[str] = field(default_factory=list)
    categories: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left of a batch."""

    body: bytes
    """NDJSON."""
    seen: dict[str | None, Seen]


class ExportFilter:
    """Decides the lines of files of one type, for one token (`plan`)."""

    def __init__(
        self,
        plans: ReadPlans,
        views: ResourceViews,
        medications: Medications,
        origins: Origins,
        plan: ReadPlan,
        kind: str,
    ) -> None:
        self._plans = plans
        self._views = views
        self._medications = medications
        self._origins = origins
        self._plan = plan
        self._kind = kind
        self._unread = 0

    async def passed(self, lines: Sequence[bytes], now: datetime) -> Passed:
        """What may be seen of these lines.

        Nothing of one that is no JSON: it may be a withheld one, and a file that breaks would tell of it.
        """
        self._unread = len(lines)
        lines = list(filter(_is_text, lines))
        self._unread -= len(lines)
        origins = await self._origins.of(lines if self._kind == PROVENANCE else ())
        batch = _Batch(self._plans, self._views, self._plan, now, origins)
        await batch.begin()
        await self._medications.learn(*lines)
        found: list[bytes] = []
        seen: dict[str | None, Seen] = {}
        for number, line in enumerate(lines, 1):
            shown = await self._shown(line, batch)
            if shown is not None:
                owner = next(iter(shown.facts.owners), None)
                of = seen.setdefault(owner, Seen(batch.plans[owner]))
                of.names.append(shown.name)
                of.categories |= shown.categories
                found += (shown.body.replace(b"\r", b" "), b"\n")  # some readers take it for the end of a line
            if number % _TURN == 0:
                await asyncio.sleep(0)
        if self._unread:
            _log.warning("upstream_fails_at_one", type=self._kind, kind="not-fhir", lines=self._unread)
        return Passed(b"".join(found), seen)

    async def _shown(self, line: bytes, batch: _Batch) -> Shown | None:
        try:
            facts = self._views.facts(line, batch.origins)
            if facts.resource_type != self._kind:
                return None
            show = await batch.show(facts)
            return None if show is None else show(line)
        except NotMinimizable:
            self._unread += not _is_object(line)
            return None


class _Batch:
    """The plans by which one batch is decided, by patient."""

    def __init__(
        self, plans: ReadPlans, views: ResourceViews, plan: ReadPlan, now: datetime, origins: OriginsByContent
    ) -> None:
        self._of = plans
        self._views = views
        self._plan = plan
        self._now = now
        self.origins = origins
        self._candidates: frozenset[str] | None = None
        self._shows: dict[str | None, Show] = {}
        self.plans: dict[str | None, ReadPlan] = {}

    async def begin(self) -> None:
        """Find who may share at all: of others no consents are read, however many patients the upstream has."""
        found = await self._of.who_may_share(self._plan, self._now, MOST_CANDIDATES + 1)
        self._candidates = frozenset(found) if len(found) <= MOST_CANDIDATES else None

    async def show(self, facts: ResourceFacts) -> Show | None:
        """The view of the patient whom a resource is about, or of what is about nobody; None when nothing is open."""
        if len(facts.owners) > 1:
            return None
        owner = next(iter(facts.owners), None)
        if owner is not None and self._candidates is not None and owner not in self._candidates:
            return None
        show = self._shows.get(owner)
        if show is None:
            plan = await self._of.for_resource(self._plan, facts, self._now)
            show = self._shows[owner] = self._views.under(plan, {}, origins=self.origins)
            self.plans[owner] = plan
        return show


def _is_text(line: bytes) -> bool:
    """RFC 8259 §8.1: it is UTF-8, which decoders check only where they read."""
    try:
        return line.isascii() or bool(line.decode())
    except UnicodeDecodeError:
        return False


def _is_object(line: bytes) -> bool:
    """Whether it is JSON, though not shaped as FHIR."""
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def records_of(passed: Passed, request_id: str, now: datetime) -> list[AuditRecord]:
    """What must be on record before the batch leaves: one for each patient, naming nothing of the others."""
    return [_record(owner, seen, request_id, now) for owner, seen in passed.seen.items()]


def _record(owner: str | None, seen: Seen, request_id: str, now: datetime) -> AuditRecord:
    access, share = seen.plan.access, seen.plan.shares.get(owner or "")
    return AuditRecord(
        kind="search",
        action="E",
        outcome="0",
        recorded=now,
        request_id=request_id,
        client_id=access.client_id,
        client_name=access.client_name,
        patient=owner,
        purpose=access.purpose,
        entities=tuple(seen.names),
        consents=() if share is None else tuple(rule.reference for rule in share.consents),
        categories=tuple(sorted(seen.categories)),
        interaction="operation",
        actors=access.actors,
    )
