"""Searches among Assent's own resources about one patient."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from fhir.search.query import CURSOR, parse_search
from fhir.store.repository import Repository, SearchPage, StoredResource

_PROVENANCES: Final = 500
"""A consent that changed more often has its newest versions told."""


class PatientSearch:
    """INVARIANT: every search is held to one patient, or to what belongs to one consent."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def page(self, kind: str, patient_id: str, conditions: Iterable[tuple[str, str]], count: int) -> SearchPage:
        """One page of at most `count`. Raises SearchError."""
        pairs = (("patient", f"Patient/{patient_id}"), ("_count", str(count)), ("_total", "none"), *conditions)
        return await self._repository.search(parse_search(kind, pairs, self._repository.definitions, max_count=count))

    async def provenance(self, consent_id: str) -> AsyncIterator[StoredResource]:
        """Where the versions of one consent come from; the caller knows whose it is."""
        pairs = (
            ("target", f"Consent/{consent_id}"),
            ("_count", str(_PROVENANCES)),
            ("_sort", "-_lastUpdated"),
            ("_total", "none"),
        )
        query = parse_search("Provenance", pairs, self._repository.definitions, max_count=_PROVENANCES)
        for stored in (await self._repository.search(query)).matches:
            yield stored

    async def every(
        self, kind: str, patient_id: str, conditions: Iterable[tuple[str, str]], count: int
    ) -> AsyncIterator[StoredResource]:
        """Everything that matches, with at most `count` in memory. Raises SearchError."""
        given = tuple(conditions)
        after: tuple[tuple[str, str], ...] = ()
        more = True
        while more:
            page = await self.page(kind, patient_id, (*given, *after), count)
            for stored in page.matches:
                yield stored
            more = page.next_cursor is not None
            after = ((CURSOR, page.next_cursor or ""),)
