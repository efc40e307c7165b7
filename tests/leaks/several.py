"""A world with two upstreams: an EHR that answers for the rest, and a laboratory that answers for a few types.

Each of them also holds what isn't its own, as real ones do: it must never be asked for, nor shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from assent.sandbox_mode.upstream import Dataset
from assent.settings import Settings
from tests.leaks.upstream import TOKEN, Upstream, overheard_upstream
from tests.leaks.world import World, world_of

LAB_TYPES = ("Observation", "DiagnosticReport")


@dataclass(slots=True)
class Several:
    """The server with its upstreams."""

    world: World
    ehr: Upstream
    lab: Upstream


@asynccontextmanager
async def several(
    make_database: Callable[[], Awaitable[str]],
    folder: Path,
    ehr: Sequence[Mapping[str, object]],
    lab: Callable[[str], Sequence[Mapping[str, object]]],
    *,
    writes: bool = False,
    **lab_settings: object,
) -> AsyncIterator[Several]:
    """Start everything. `lab` makes the laboratory's resources, given the EHR's base URL. `writes`: apps may write."""
    url = await make_database()
    async with upstream_of(url, ehr) as here, upstream_of(await make_database(), lab(here.url)) as there:
        settings = settings_of(folder, here, there, of_lab=lab_settings, writes=writes)
        async with world_of(settings, here, url) as running:
            yield Several(running, here, there)


@asynccontextmanager
async def upstream_of(url: str, resources: Sequence[Mapping[str, object]]) -> AsyncIterator[Upstream]:
    """One upstream with these resources."""
    engine = create_async_engine(url)
    try:
        dataset = Dataset(hashlib.sha256(repr(resources).encode()).hexdigest(), lambda: resources)
        async with overheard_upstream(engine, dataset) as upstream:
            yield upstream
    finally:
        await engine.dispose()


def settings_of(
    folder: Path,
    ehr: Upstream,
    lab: Upstream,
    *,
    types: Sequence[str] = LAB_TYPES,
    of_ehr: Mapping[str, object] = MappingProxyType({}),
    of_lab: Mapping[str, object] = MappingProxyType({}),
    writes: bool = False,
) -> Settings:
    """Settings of a server before both. `of_ehr` and `of_lab` are further keys of their tables."""
    signed_in: dict[str, Any] = {"auth": "bearer", "bearer_token": SecretStr(TOKEN)}
    tables = {
        "ehr": {"url": ehr.url, **signed_in, **of_ehr},
        "lab": {"url": lab.url, "types": tuple(types), **signed_in, **of_lab},
    }
    return Settings.model_validate({"data_dir": folder, "upstreams": tables, "upstream_writes": writes})
