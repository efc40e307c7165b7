"""The consents in force, as rules, for every decision: cached per patient and kept true by the change bus."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final, Protocol

import msgspec
from sqlalchemy import Select, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.consents.reading import read_consent
from fhir.store.heard_cache import Health, HeardCache
from fhir.store.prepared_statement import PreparedStatement
from fhir.store.repository import Repository
from fhir.store.tables import store_metadata
from policies.consent_rule import ConsentRule

_MAX_PATIENTS: Final = 50_000
MAX_CONSENTS: Final = 1_000
_MAX_COMPILED: Final = 2_000


class ActiveConsents(Protocol):
    """Where consents are kept."""

    async def active_consents(self, patient: str, limit: int) -> list[bytes]:
        """Bodies of the current versions with status `active` for one patient, at most `limit`."""


class StoredConsents:
    """Consents in the repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._statement, self._single = _active(repository.schema)

    async def active_consents(self, patient: str, limit: int, connection: AsyncConnection | None = None) -> list[bytes]:
        """As `ActiveConsents.active_consents`; within a transaction where one is given."""
        if connection is None:
            single = await self._single.rows(self._repository.engine, patient=patient, most=limit)
            return [row["body"] for row in single]
        found = await self._repository.rows(self._statement, connection, patient=patient, most=limit)
        return [row["body"] for row in found]

    async def active_size(self, patient: str, connection: AsyncConnection) -> tuple[int, int]:
        """How many consents of a patient are active, and how many bytes they have together."""
        (found,) = await self._repository.rows(_size(self._repository.schema), connection, patient=patient)
        return found["number"], found["bytes"]


@cache
def _size(schema: str) -> Select[tuple[int, int]]:
    active = _active(schema)[0].limit(None).order_by(None).subquery()
    return select(func.count().label("number"), func.coalesce(func.sum(func.length(active.c.body)), 0).label("bytes"))


@cache
def _active(schema: str) -> tuple[Select[tuple[bytes]], PreparedStatement]:
    """One statement on two indexes. Built once: it is asked at every decision that no cache knows."""
    tables = {table.name: table for table in store_metadata(schema).sorted_tables}
    consent, about, status = tables["fhir_resource"], tables["fhir_reference"], tables["fhir_token"]
    is_active = exists().where(status.c.pk == about.c.pk, status.c.param == "status", status.c.code == "active")
    found = (
        select(consent.c.body)
        .join_from(about, consent, consent.c.pk == about.c.pk)
        .where(
            about.c.resource_type == "Consent",
            about.c.param == "patient",
            about.c.target_type == "Patient",
            about.c.target_id == bindparam("patient"),
            is_active,
            ~consent.c.deleted,
        )
        .order_by(consent.c.pk)
        .limit(bindparam("most"))
    )
    return found, PreparedStatement(found)


class TooManyConsents(RuntimeError):
    """A patient has more active consents than can be judged; deciding on a part could widen, so nothing is decided."""


@lru_cache(maxsize=_MAX_COMPILED)
def rule_of(body: bytes) -> ConsentRule:
    """A consent as a rule. What it says follows from its text alone, whoever asks and whenever."""
    return read_consent(msgspec.json.decode(body))


class ConsentRegister:
    """Consents of a patient as compiled rules."""

    def __init__(self, store: ActiveConsents, bus: Health) -> None:
        self._store = store
        self._kept: HeardCache[str, tuple[ConsentRule, ...]] = HeardCache(bus, _MAX_PATIENTS)

    async def rules(self, patient: str) -> tuple[ConsentRule, ...]:
        """Rules of all active consents. Raises TooManyConsents, and what the database raises."""
        return await self._kept.get(patient, lambda: self.newest(patient)) or ()

    async def newest(self, patient: str) -> tuple[ConsentRule, ...]:
        """As `rules`, as they stand in the database: for who can't wait until news of another process is here."""
        bodies = await self._store.active_consents(patient, MAX_CONSENTS + 1)
        if len(bodies) > MAX_CONSENTS:
            raise TooManyConsents(f"more than {MAX_CONSENTS} active consents")
        return tuple(map(rule_of, bodies))

    def forget(self, patient: str) -> None:
        """A consent of this patient changed."""
        self._kept.forget(patient)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._kept.forget_all()
