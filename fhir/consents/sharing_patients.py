"""Which patients have a consent that names an app: where a service's search without a patient begins.

One indexed statement on what the store finds in Consents. It may say more than shares (names are compared without
case, purposes aren't looked at), never less; the consents of each patient decide afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.search.literals import INDEXED_LENGTH
from fhir.store.tables import store_metadata


class SharingPatients:
    """Asks the store of one schema."""

    def __init__(self, engine: AsyncEngine, *, schema: str) -> None:
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statement = _naming(schema)

    async def naming(self, grantee: str, now: datetime, limit: int) -> Sequence[str]:
        """Ids of at most `limit` patients with an active consent, not yet over, for `grantee` (`system|value`)."""
        system, _, value = grantee.rpartition("|")
        values = {"system": system[:INDEXED_LENGTH], "value": value.casefold()[:INDEXED_LENGTH]}
        async with self._reads.connect() as connection:
            found = await connection.execute(self._statement, {**values, "now": now, "most": limit})
            return [row.target_id for row in found]


def _naming(schema: str) -> Select[tuple[str]]:
    tables = {table.name: table for table in store_metadata(schema).sorted_tables}
    actor, patient = (tables["fhir_reference"].alias(name) for name in ("actor", "patient"))
    status, period = tables["fhir_token"].alias("status"), tables["fhir_date"].alias("period")
    over = exists().where(
        period.c.pk == actor.c.pk,
        period.c.param == "period",
        period.c.high <= bindparam("now", type_=period.c.high.type),
    )
    return (
        select(patient.c.target_id)
        .distinct()
        .select_from(actor)
        .join(status, (status.c.pk == actor.c.pk) & (status.c.param == "status") & (status.c.code == "active"))
        .join(patient, (patient.c.pk == actor.c.pk) & (patient.c.param == "patient"))
        .where(
            actor.c.resource_type == "Consent",
            actor.c.param == "actor",
            actor.c.identifier_value == bindparam("value"),
            actor.c.identifier_system == bindparam("system"),
            patient.c.target_type == "Patient",
            ~over,
        )
        .order_by(patient.c.target_id)
        .limit(bindparam("most"))
    )
