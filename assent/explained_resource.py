"""A resource that is explained, and what must be known beside it to decide on it, found as the proxy finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from fhir.minimization.facts import FactsReader
from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.medications import Medications
from fhir.proxy.origins import PROVENANCE, Origins, OriginsByContent
from fhir.r4.own_types import OWN_TYPES
from fhir.r4.strict_json import decode_once
from fhir.upstream.source import Source
from fhir.upstream.upstreams import TypeNotServed
from policies.model import ResourceFacts


@dataclass(frozen=True, slots=True)
class Found:
    """What was read; `body` None when there is nothing."""

    body: bytes | None
    origins: OriginsByContent = field(default_factory=dict)
    """What a Provenance targets."""
    medications: Medications | None = None
    """They have learned what a prescription refers to."""


async def found_of(reader: FactsReader, source_of: Callable[[str], Source], kind: str, body: bytes | None) -> Found:
    """What was read of a type, with what it refers to. `source_of` raises TypeNotServed. Raises what sources raise."""
    if body is None:
        return Found(None)
    medications = Medications(source_of, reader)
    if kind not in OWN_TYPES:
        await medications.learn(body)
    if kind != PROVENANCE:
        return Found(body, medications=medications)

    def facts(raw: bytes) -> ResourceFacts:
        try:
            return reader.read(decode_once(raw))
        except (msgspec.DecodeError, RecursionError) as broken:
            raise NotMinimizable("content is not shaped as FHIR JSON") from broken

    def serves(resource_type: str) -> bool:
        try:
            source_of(resource_type)
        except TypeNotServed:
            return False
        return True

    origins = Origins(facts, reader.relative, source_of, serves, medications.learn)
    return Found(body, await origins.of([body]), medications)
