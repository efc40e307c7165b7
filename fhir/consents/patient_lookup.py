"""Which patients have a business identifier: the upstream knows, and is asked.

Consents stand in Assent's store and patients don't, so `patient.identifier` can't be chained in the store.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec

from fhir.search.literals import SearchError
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import Source

MAX_PATIENTS: Final = 50
_MAX_IDENTIFIER: Final = 500
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")


class PatientLookup(Protocol):
    """Finds patients."""

    async def by_identifier(self, identifier: str) -> tuple[str, ...]:
        """Ids of those whose identifier matches a token (`system|value`)."""


class UpstreamPatients:
    """Asks the upstream."""

    def __init__(self, upstream: Source) -> None:
        self._upstream = upstream

    async def by_identifier(self, identifier: str) -> tuple[str, ...]:
        """As `PatientLookup.by_identifier`. Raises SearchError for too many, and what the upstream's client raises."""
        if not identifier or len(identifier) > _MAX_IDENTIFIER:
            raise SearchError("value", "patient.identifier", "the identifier is empty or too long")
        query = urlencode({"identifier": identifier, "_count": str(MAX_PATIENTS + 1)})
        try:
            bundle = msgspec.json.decode(await self._upstream.page(f"Patient?{query}"), type=dict[str, Any])
            entries = [entry["resource"] for entry in bundle.get("entry", ())]
            ids = [str(r["id"]) for r in entries if r.get("resourceType") == "Patient"]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as broken:
            raise UpstreamFailure("not-fhir") from broken
        if len(ids) > MAX_PATIENTS or any(link.get("relation") == "next" for link in bundle.get("link", ())):
            raise SearchError("too-costly", "patient.identifier", f"more than {MAX_PATIENTS} patients have it")
        return tuple(id for id in ids if _ID.fullmatch(id))
