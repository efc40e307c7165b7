"""Active consents whose time is nearly over, found in the index on their period: somebody may want to renew them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, Table, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.consents.reading import read_consent
from fhir.r4.instants import instant_of
from fhir.store.repository import Repository
from fhir.store.tables import store_metadata

AHEAD: Final = timedelta(days=7)
"""How long before its end a consent is found."""
_LASTED: Final = timedelta(days=14)
"""A consent for a shorter time ends as its giver expects."""


@dataclass(frozen=True, slots=True)
class EndingConsent:
    """One of them."""

    id: str
    content: dict[str, Any]
    patient: str
    """Logical id."""
    ends: datetime
    """As the index has it."""
    worth_telling: bool
    """Whether it was given for so long that its end may come as a surprise."""


async def ending_consents(
    repository: Repository, connection: AsyncConnection, told: Table, now: datetime, most: int
) -> Sequence[EndingConsent]:
    """At most so many that end within AHEAD. `told` (consent_id, ends_at): which ends to leave out."""
    rows = await repository.rows(_ending(repository.schema, told), connection, now=now, horizon=now + AHEAD, most=most)
    found = ((row, msgspec.json.decode(row["body"], type=dict[str, Any])) for row in rows)
    return [
        EndingConsent(row["id"], content, read_consent(content).patient, row["high"], _lasts_long(content))
        for row, content in found
    ]


def _lasts_long(content: dict[str, Any]) -> bool:
    period = content.get("provision", {}).get("period", {})
    starts = instant_of(period.get("start") or content.get("dateTime"), end=False)
    ends = instant_of(period.get("end"), end=True)
    return starts is not None and ends is not None and ends - starts >= _LASTED


def _ending(schema: str, told: Table) -> Select[Any]:
    tables = {table.name: table for table in store_metadata(schema).sorted_tables}
    consent, period, status = tables["fhir_resource"], tables["fhir_date"], tables["fhir_token"]
    is_active = exists().where(status.c.pk == period.c.pk, status.c.param == "status", status.c.code == "active")
    was_told = exists().where(told.c.consent_id == consent.c.id, told.c.ends_at == period.c.high)
    return (
        select(consent.c.id, consent.c.body, period.c.high)
        .join_from(period, consent, consent.c.pk == period.c.pk)
        .where(
            period.c.resource_type == "Consent",
            period.c.param == "period",
            period.c.high > bindparam("now"),
            period.c.high <= bindparam("horizon"),
            is_active,
            ~consent.c.deleted,
            ~was_told,
        )
        .order_by(period.c.high, consent.c.pk)
        .limit(bindparam("most"))
    )
