"""Which patients have a business identifier: the upstream knows, and is asked.

Consents stand in Assent's store and patients don't, so `patient.identifier` can't be chained in the store. Whom the
upstream finds counts if they have the identifier: one that passes over the parameter finds anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec

from fhir.r4.strict_json import decode_once
from fhir.search.literals import SearchError, TokenLiteral, read_token, split_escaped
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import Source

MAX_PATIENTS: Final = 50
_NAME: Final = "patient.identifier"
_MAX_IDENTIFIER: Final = 500
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")


class PatientLookup(Protocol):
    """Finds patients."""

    async def by_identifier(self, identifier: str) -> tuple[str, ...]:
        """Ids of those of whom an identifier matches a token (`system|value`), or one of several."""


class UpstreamPatients:
    """Asks the upstream."""

    def __init__(self, upstream: Source) -> None:
        self._upstream = upstream

    async def by_identifier(self, identifier: str) -> tuple[str, ...]:
        """As `PatientLookup.by_identifier`. Raises SearchError for too many, and what the upstream's client raises."""
        if not identifier or len(identifier) > _MAX_IDENTIFIER:
            raise SearchError("value", _NAME, "the identifier is empty or too long")
        tokens = [read_token(_NAME, part) for part in split_escaped(_NAME, identifier, ",")]
        query = urlencode({"identifier": identifier, "_count": str(MAX_PATIENTS + 1)})
        try:
            bundle: dict[str, Any] = decode_once(await self._upstream.page(f"Patient?{query}"))
            found = [entry["resource"] for entry in bundle.get("entry", ())]
            ids = [str(r["id"]) for r in found if r.get("resourceType") == "Patient" and _has_one_of(r, tokens)]
            leads_on = any(link.get("relation") == "next" for link in bundle.get("link", ()))
        except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError) as broken:
            raise UpstreamFailure("not-fhir") from broken
        if len(ids) > MAX_PATIENTS or leads_on:
            raise SearchError("too-costly", _NAME, f"more than {MAX_PATIENTS} patients have it")
        return tuple(id for id in ids if _ID.fullmatch(id))


def _has_one_of(patient: dict[str, Any], tokens: Sequence[TokenLiteral]) -> bool:
    """FHIR R4 §3.1.1.4.10; without a code any of the system matches, with an empty system those that have none."""
    return any(
        token.system in (None, identifier.get("system", "")) and token.code in (None, identifier.get("value"))
        for identifier in patient.get("identifier", ())
        for token in tokens
    )
