"""Where resources come from: an upstream FHIR server, or Assent's own store. The proxy treats both alike."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Something that answers FHIR reads and searches with FHIR JSON."""

    async def read(self, resource_type: str, resource_id: str, version: str) -> bytes | None:
        """One resource (`version` empty: the current one); None when there is none, or no more."""

    async def page(self, url: str) -> bytes:
        """One searchset page: `Type?query` for a first page, or what a `next` link said."""
