"""The sandbox's upstream: synthetic resources in a schema of their own, served on a real loopback socket.

The data is derived from a seed, so it is loaded again, whole, whenever its edition changes, and never migrated. The
proxy reaches it over the network with a bearer token that lives as long as the process: like any upstream.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from assent.progress import Progress
from assent.server import listen, serving
from fhir.r4.definitions import Definitions
from fhir.r4.resource_body import Resource
from fhir.store.repository import Repository
from fhir.store.tables import store_metadata
from sandbox.upstream import upstream_app

SCHEMA = "sandbox"
ADVISORY_LOCK = 0x73616E64626F78
"""Key of the loading lock: the ASCII bytes of `sandbox`."""
REPORT_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Dataset:
    """Synthetic resources and the name of their edition: the same edition means the same resources."""

    edition: str
    resources: Callable[[], Iterable[Resource]]


@dataclass(frozen=True, slots=True)
class BuiltInUpstream:
    """Where the upstream is and what opens it."""

    url: str
    bearer_token: str = field(repr=False)


@asynccontextmanager
async def built_in_upstream(
    engine: AsyncEngine,
    definitions: Definitions,
    dataset: Dataset,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> AsyncIterator[BuiltInUpstream]:
    """Load the dataset if it isn't there, and serve it while the block runs."""
    repository = Repository(engine, definitions, schema=SCHEMA, clock=clock)
    await load_dataset(engine, repository, dataset, progress)
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    token = secrets.token_urlsafe(32)
    async with serving(upstream_app(repository, base_url=url, bearer_token=token), listener):
        yield BuiltInUpstream(url, token)


async def load_dataset(engine: AsyncEngine, repository: Repository, dataset: Dataset, progress: Progress) -> bool:
    """Replace the schema's content by the dataset, in one transaction; False when it is there already."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        if await _loaded_edition(connection) == dataset.edition:
            return False
        progress.step("making synthetic patients (only the first time)")
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(store_metadata(SCHEMA).create_all)
        count = await repository.load(_reporting(dataset.resources(), progress), connection=connection)
        quoted = dataset.edition.replace("'", "''")
        await connection.exec_driver_sql(f"COMMENT ON SCHEMA {SCHEMA} IS '{quoted}'")
        progress.step(f"{count} resources are in")
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in store_metadata(SCHEMA).sorted_tables:
            # The planner knows nothing of freshly loaded tables, and the first searches would be slow.
            await autocommit.exec_driver_sql(f"ANALYZE {table.fullname}")
    return True


async def _loaded_edition(connection: AsyncConnection) -> object:
    query = text("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = :name")
    return await connection.scalar(query, {"name": SCHEMA})


def _reporting(resources: Iterable[Resource], progress: Progress) -> Iterator[Resource]:
    for count, resource in enumerate(resources, 1):
        if count % REPORT_EVERY == 0:
            progress.step(f"{count} resources")
        yield resource
