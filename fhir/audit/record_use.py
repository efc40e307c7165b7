"""How often each app looked at each patient's record, and when last: counted as records become AuditEvents.

Derived from AuditEvents, and counted in the transaction that stores them, so that each counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, DateTime, MetaData, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.audit.event import AuditRecord

_LOOKS: Final = ("read", "search")


class Use(NamedTuple):
    """What one app did with one record."""

    times: int
    last: datetime


def record_use_table(metadata: MetaData) -> Table:
    """`record_use`: one row for each patient and app."""
    return Table(
        "record_use",
        metadata,
        Column("patient", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        Column("times", BigInteger, nullable=False),
        Column("last", DateTime(timezone=True), nullable=False),
        PrimaryKeyConstraint("patient", "client_id", name="pk_record_use"),
    )


class RecordUse:
    """The table `record_use` of one schema."""

    def __init__(self, *, schema: str) -> None:
        table = f'"{schema}".record_use'
        self._count = text(
            # Sorted, so that two processes that count at once never wait for each other in a circle.
            f"INSERT INTO {table} AS known (patient, client_id, times, last) "  # noqa: S608 - the schema's name is ours
            "SELECT * FROM unnest(:patients\\:\\:text[], :clients\\:\\:text[], :times\\:\\:bigint[], "
            ":lasts\\:\\:timestamptz[]) ORDER BY 1, 2 "
            "ON CONFLICT (patient, client_id) DO UPDATE "
            "SET times = known.times + excluded.times, last = greatest(known.last, excluded.last)"
        )
        self._of_patient = text(f"SELECT client_id, times, last FROM {table} WHERE patient = :patient")  # noqa: S608 - as above

    async def count(self, records: Iterable[AuditRecord], connection: AsyncConnection) -> None:
        """Count what was shown, with the transaction that stores the AuditEvents."""
        times: Counter[tuple[str, str]] = Counter()
        lasts: dict[tuple[str, str], datetime] = {}
        for record in records:
            if record.kind in _LOOKS and record.outcome == "0" and record.patient and record.client_id:
                key = record.patient, record.client_id
                times[key] += 1
                lasts[key] = max(lasts.get(key, record.recorded), record.recorded)
        if times:
            columns = {"patients": [p for p, _ in times], "clients": [c for _, c in times]}
            counted = {"times": list(times.values()), "lasts": [lasts[key] for key in times]}
            await connection.execute(self._count, {**columns, **counted})

    async def of_patient(self, patient: str, connection: AsyncConnection) -> Mapping[str, Use]:
        """By client_id. What is still in the journal isn't counted yet: settle it first."""
        found = await connection.execute(self._of_patient, {"patient": patient})
        return {row.client_id: Use(row.times, row.last) for row in found}
