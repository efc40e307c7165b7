"""What a writer is told of what it wrote: what a read of it would say to it, and nothing more (docs/leaks.md L45)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from fhir.proxy.parts import Answered, Asked, ProxyParts
from fhir.proxy.reading import seen
from fhir.proxy.responses import Headers
from fhir.r4.interaction import Interaction
from fhir.r4.operation_outcome import operation_outcome
from fhir.r4.resource_body import content_of
from fhir.writes.request import Returning
from policies.decide import ReadPlan

_VERSION: Final = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9.\-]{1,64}")
"""FHIR R4 §2.24.0.1, id. Whatever else the upstream calls a version stands in no header and in no address."""


def version_of(body: bytes) -> str:
    """The version of a resource that was minimized; empty where it has none that can be named."""
    version = content_of(body).get("meta", {}).get("versionId")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""


async def reading(parts: ProxyParts, asked: Asked, id: str = "") -> Asked | None:
    """The read of what is written; None where the token has no scope for it."""
    interaction = Interaction("read", asked.interaction.resource_type, id or asked.interaction.id)
    plan = await parts.plans.begin(asked.access, interaction, asked.now)
    return replace(asked, plan=plan, interaction=interaction) if isinstance(plan, ReadPlan) else None


async def read_back(parts: ProxyParts, asked: Asked, id: str, *, status: int, version: str = "") -> Answered:
    """The answer to a create or an update. The access is part of the write's own record."""
    located = f"{parts.base}/{asked.interaction.resource_type}/{id}"
    read = await reading(parts, asked, id)
    found = None if read is None else await seen(parts, read, "")
    headers: Headers = ()
    body = b""
    if found is not None:
        body = found.shown[0].body
        version = version_of(body)
        headers = ((b"etag", f'W/"{version}"'.encode()),) if version else ()
    if status == 201:
        where = f"{located}/_history/{version}" if version else located
        headers = (*headers, (b"location", where.encode()))
    return Answered(_returned(asked, body), None, headers=headers, status=status)


def _returned(asked: Asked, body: bytes) -> bytes:
    """FHIR R4 §3.1.0.1.7, `Prefer: return=`."""
    wanted: Returning = "representation" if asked.request.write is None else asked.request.write.returning
    if wanted == "representation":
        return body
    return b"" if wanted == "minimal" else operation_outcome("informational", "done", severity="information")
