"""What a Provenance targets, found for explanations as the proxy finds it (fhir.proxy.origins)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from assent.explanation import Rules
from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.origins import NO_ORIGINS, PROVENANCE, Origins, OriginsByContent
from fhir.upstream.source import Source
from fhir.upstream.upstreams import TypeNotServed
from policies.model import ResourceFacts

_decode = msgspec.json.Decoder(dict[str, object]).decode


async def origins_of(
    rules: Rules, source_of: Callable[[str], Source], kind: str, body: bytes | None
) -> OriginsByContent:
    """Of a resource that was read, None for none; empty for another type. `source_of` raises TypeNotServed.

    Raises what sources raise.
    """
    if kind != PROVENANCE or body is None:
        return NO_ORIGINS

    def facts(raw: bytes) -> ResourceFacts:
        try:
            return rules.facts.read(_decode(raw))
        except (msgspec.DecodeError, RecursionError) as broken:
            raise NotMinimizable("content is not shaped as FHIR JSON") from broken

    def serves(resource_type: str) -> bool:
        try:
            source_of(resource_type)
        except TypeNotServed:
            return False
        return True

    return await Origins(facts, rules.facts.relative, source_of, serves).of([body])
