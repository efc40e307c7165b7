"""Which upstream FHIR server answers for which resource type (docs/decisions/0024-several-upstreams.md).

Each type belongs to one upstream. One of them may answer for all types that no other names. Binary goes with
DocumentReference: a document names its content by an address on its own server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fhir.upstream.client import UpstreamClient
from fhir.upstream.source import Place, UpstreamSource
from fhir.upstream.writes import UpstreamWrites


class TypeNotServed(Exception):
    """No upstream answers for the resource type."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream FHIR server."""

    name: str
    """The operator's name for it: told to apps, so no host name."""
    base: str
    """FHIR base URL without a trailing slash."""
    types: frozenset[str] | None
    """The resource types that it answers for; None for all that no other names."""
    client: UpstreamClient


class Upstreams:
    """All of them."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        """INVARIANT: no type is named twice, and one upstream at most names none (assent/upstream_table.py)."""
        self._all: Final = tuple(upstreams)
        sources = {one.name: UpstreamSource(one.client, Place(one.name, one.base)) for one in upstreams}
        self._by_type = {kind: sources[one.name] for one in upstreams for kind in one.types or ()}
        self._rest = next((sources[one.name] for one in upstreams if one.types is None), None)
        self._writes = {one.name: UpstreamWrites(one.client) for one in upstreams}

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._all)

    @property
    def bases(self) -> tuple[str, ...]:
        """Base URLs. What a reference below any of them means is `Type/id`, as ids mean the same everywhere."""
        return tuple(one.base for one in self._all)

    def serves(self, resource_type: str) -> bool:
        """Whether an upstream answers for the type."""
        return self._find(resource_type) is not None

    def together(self, one: str, other: str) -> bool:
        """Whether one upstream answers for both types."""
        return self._find(one) is not None and self._find(one) is self._find(other)

    def source(self, resource_type: str) -> UpstreamSource:
        """The upstream of a type. Raises TypeNotServed."""
        found = self._find(resource_type)
        if found is None:
            raise TypeNotServed
        return found

    def writes(self, resource_type: str) -> UpstreamWrites:
        """The writes of a type's upstream. Raises TypeNotServed."""
        return self._writes[self.source(resource_type).place.name]

    def _find(self, resource_type: str) -> UpstreamSource | None:
        return self._by_type.get("DocumentReference" if resource_type == "Binary" else resource_type, self._rest)

    async def close(self) -> None:
        """Close the connections of all."""
        for one in self._all:
            await one.client.close()
