"""The FHIR repository: resources with their versions in PostgreSQL, and searches on them.

FHIR R4 §3.1.0 (create, read, vread, update, delete, history) and §3.1.1 (search), without their HTTP. A version once
written never changes. Who may see what is decided elsewhere: this answers whoever holds it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import asyncpg
from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.r4.definitions import Definitions
from fhir.r4.resource_body import Resource, content_of, stamped, text_of, top_level
from fhir.search.literals import SearchError
from fhir.search.query import SearchQuery
from fhir.store.index_rows import COLUMNS, KEY_COLUMNS, Indexer
from fhir.store.search_cursor import CursorSeal
from fhir.store.search_sql import MAX_INCLUDED, SearchSql
from fhir.store.tables import VALUE_TABLES, store_metadata

_BATCH: Final = 2000
"""Resources that a bulk load holds in memory at once."""
MAX_VERSION: Final = 2**31 - 1
"""The column's largest number."""
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_RESOURCE_COLUMNS: Final = ("resource_type", "id", "version", "last_updated", "deleted", "body")


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One version of a resource. `body` is its JSON text; empty for a deleted version."""

    resource_type: str
    id: str
    version: int
    last_updated: datetime
    body: bytes
    deleted: bool


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of matches, what they include, and the cursor of the next page. `total` is None when not counted."""

    matches: tuple[StoredResource, ...]
    included: tuple[StoredResource, ...]
    total: int | None
    next_cursor: str | None


class VersionConflict(Exception):  # named after the HTTP answer it leads to: 409 or 412
    """The resource isn't at the version that the caller started from."""


class Repository:
    """The resources of one PostgreSQL schema. Every method works on its own connection, or joins `connection`."""

    def __init__(
        self,
        engine: AsyncEngine,
        definitions: Definitions,
        *,
        schema: str,
        clock: Callable[[], datetime],
        cursor_key: bytes | None = None,
    ) -> None:
        """`cursor_key` (32 bytes) lets replicas and restarts go on with each other's pages; random when not given."""
        self.definitions: Final = definitions
        self.engine: Final = engine
        # A read is one statement: without BEGIN and ROLLBACK around it, it is one round trip.
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.clock: Final = clock
        self.schema: Final = schema
        metadata = store_metadata(schema)
        self._tables = {table.name: table for table in metadata.sorted_tables}
        self._resource = self._tables["fhir_resource"]
        self._versions = self._tables["fhir_resource_version"]
        self._sql = SearchSql(metadata)
        self._indexer = Indexer(definitions)
        r, v = self._resource.c, self._versions.c
        of_type: BindParameter[str] = bindparam("resource_type")
        of_id: BindParameter[str] = bindparam("id")
        # Built once: reading by id is the most frequent of all statements.
        current = select(*(r[name] for name in _RESOURCE_COLUMNS))
        self._read = current.where(r.resource_type == of_type, r.id == of_id)
        versions = select(self._versions).where(v.resource_type == of_type, v.id == of_id)
        older: BindParameter[int] = bindparam("before")
        self._history = versions.where(v.version < older).order_by(v.version.desc()).limit(bindparam("count"))
        self._vread = versions.where(v.version == bindparam("version"))
        self._seal = CursorSeal(cursor_key or secrets.token_bytes(32))

    # Reading --------------------------------------------------------------------------------------------------------

    async def read(
        self, resource_type: str, id: str, connection: AsyncConnection | None = None
    ) -> StoredResource | None:
        """The current version; one with `deleted` set when it was deleted; None when it never was."""
        found = await self.rows(self._read, connection, resource_type=resource_type, id=id)
        return StoredResource(**found[0]) if found else None

    async def vread(
        self, resource_type: str, id: str, version: int, connection: AsyncConnection | None = None
    ) -> StoredResource | None:
        """One version, current or not."""
        found = await self.rows(self._vread, connection, resource_type=resource_type, id=id, version=version)
        return StoredResource(**found[0]) if found else None

    async def history(
        self,
        resource_type: str,
        id: str,
        connection: AsyncConnection | None = None,
        *,
        before: int = MAX_VERSION,
        count: int = MAX_VERSION,
    ) -> list[StoredResource]:
        """Up to `count` versions older than version `before`, newest first."""
        wanted = {"resource_type": resource_type, "id": id, "before": before, "count": count}
        found = await self.rows(self._history, connection, **wanted)
        return [StoredResource(**row) for row in found]

    async def search(self, query: SearchQuery, connection: AsyncConnection | None = None) -> SearchPage:
        """One page: three statements at most. Raises SearchError for a foreign cursor or too many includes."""
        after = self._seal.open(query, query.cursor) if query.cursor is not None else None
        if query.summary == "count":
            return SearchPage((), (), await self._total(query, connection), None)
        rows = await self.rows(self._sql.page(query, after, query.count + 1), connection)
        rows, more = rows[: query.count], len(rows) > query.count
        cursor = None
        if more:
            keys = [rows[-1][f"key{n}"] for n in range(len(query.sort))]
            cursor = self._seal.seal(query, [*keys, rows[-1]["pk"]])
        total = len(rows) if after is None and not more else None
        if total is None and query.total in ("accurate", "estimate"):
            total = await self._total(query, connection)
        if query.total == "none":
            total = None
        matches = tuple(_current(query.resource_type, row) for row in rows)
        return SearchPage(matches, await self._included(query, rows, connection), total, cursor)

    async def _total(self, query: SearchQuery, connection: AsyncConnection | None) -> int:
        rows = await self.rows(self._sql.total(query), connection)
        return int(rows[0]["count_1"])

    async def _included(
        self, query: SearchQuery, rows: list[dict[str, Any]], connection: AsyncConnection | None
    ) -> tuple[StoredResource, ...]:
        statement = self._sql.included(query, [row["pk"] for row in rows], [row["id"] for row in rows])
        if statement is None or not rows:
            return ()
        found = await self.rows(statement, connection)
        if len(found) > MAX_INCLUDED:
            raise SearchError("too-costly", "_include", f"more than {MAX_INCLUDED} resources included; lower `_count`")
        return tuple(_current(row["resource_type"], row) for row in found)

    async def rows(self, statement: Any, connection: AsyncConnection | None, **values: object) -> list[dict[str, Any]]:
        """What one statement that only reads finds in the tables of `schema`."""
        if connection is not None:
            return [dict(row) for row in (await connection.execute(statement, values)).mappings()]
        async with self._reads.connect() as own:
            return [dict(row) for row in (await own.execute(statement, values)).mappings()]

    async def existing(self, resource_type: str, ids: Sequence[str], connection: AsyncConnection) -> frozenset[str]:
        """Those of the ids that are taken."""
        r = self._resource.c
        taken = select(r.id).where(r.resource_type == resource_type, r.id == func.any(list(ids)))
        return frozenset((await connection.execute(taken)).scalars())

    # Writing --------------------------------------------------------------------------------------------------------

    async def create(
        self, resource: Resource, *, id: str | None = None, connection: AsyncConnection | None = None
    ) -> StoredResource:
        """Version 1 under `id`, or under a new one. Raises VersionConflict when the id is taken."""
        properties = top_level(resource)
        stored = self._version(properties, id or str(uuid.uuid4()), 1)
        async with self._joined(connection) as joined:
            if not await self._insert(stored, joined):
                raise VersionConflict(f"{stored.resource_type}/{stored.id} exists already")
        return stored

    async def update(
        self, resource: Resource, *, expected_version: int | None, connection: AsyncConnection | None = None
    ) -> StoredResource:
        """The next version of the resource that `resource.id` names.

        With `expected_version`, only if that is the current one: VersionConflict otherwise. Without, a resource that
        isn't there is created (FHIR R4 §3.1.0.4.1).
        """
        properties = top_level(resource)
        resource_type, id = text_of(properties, "resourceType"), text_of(properties, "id")
        if resource_type is None or id is None:
            raise ValueError("an update needs `resourceType` and `id` in the resource")
        async with self._joined(connection) as joined:
            if expected_version is None:
                created = self._version(properties, id, 1)
                if await self._insert(created, joined):
                    return created
            pk, version, _ = await self._locked(resource_type, id, expected_version, joined)
            stored = self._version(properties, id, version + 1)
            await self._replace(pk, stored, joined)
        return stored

    async def delete(
        self,
        resource_type: str,
        id: str,
        *,
        expected_version: int | None = None,
        connection: AsyncConnection | None = None,
    ) -> StoredResource:
        """A deleted version on top (FHIR R4 §3.1.0.7); the one before stays in the history.

        Raises VersionConflict when the resource never was or isn't at `expected_version`. Deleting again does nothing.
        """
        async with self._joined(connection) as joined:
            pk, version, deleted = await self._locked(resource_type, id, expected_version, joined)
            if deleted:
                found = await self.read(resource_type, id, joined)
                if found is not None:
                    return found
            stored = StoredResource(resource_type, id, version + 1, self._now(), b"", True)
            await self._replace(pk, stored, joined)
        return stored

    async def load(self, resources: Iterable[Resource], *, connection: AsyncConnection | None = None) -> int:
        """Version 1 of many resources, by COPY, all or none. Ids given are kept: one taken is a VersionConflict."""
        count = 0
        remaining = iter(resources)
        async with self._joined(connection) as joined:
            while batch := list(islice(remaining, _BATCH)):
                await self._copy(batch, joined)
                count += len(batch)
        return count

    @asynccontextmanager
    async def _joined(self, connection: AsyncConnection | None) -> AsyncIterator[AsyncConnection]:
        if connection is not None:
            yield connection
            return
        async with self.engine.begin() as own:
            yield own

    def _now(self) -> datetime:
        # The column holds what `meta.lastUpdated` shows: milliseconds.
        now = self.clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _version(self, properties: dict[str, object], id: str, version: int) -> StoredResource:
        resource_type = text_of(properties, "resourceType")
        if resource_type not in self.definitions.resource_types:
            raise ValueError("`resourceType` is not a resource type of FHIR R4")
        if _ID.fullmatch(id) is None:
            raise ValueError("`id` is not a FHIR id: 1 to 64 letters, digits, hyphens and dots")
        now = self._now()
        return StoredResource(resource_type, id, version, now, stamped(properties, id, version, now), False)

    async def _insert(self, stored: StoredResource, connection: AsyncConnection) -> bool:
        """Whether the id was free. A taken one leaves the caller's transaction usable."""
        statement = (
            postgresql_insert(self._resource)
            .values(**_columns(stored))
            .on_conflict_do_nothing(index_elements=["resource_type", "id"])
            .returning(self._resource.c.pk)
        )
        pk = (await connection.execute(statement)).scalar_one_or_none()
        if pk is None:
            return False
        await self._record(pk, stored, connection)
        return True

    async def _locked(
        self, resource_type: str, id: str, expected_version: int | None, connection: AsyncConnection
    ) -> tuple[int, int, bool]:
        """pk, version and deletion of the current row, which nobody else changes before this transaction ends."""
        r = self._resource.c
        wanted = select(r.pk, r.version, r.deleted).where(r.resource_type == resource_type, r.id == id)
        row = (await connection.execute(wanted.with_for_update())).one_or_none()
        if row is None or expected_version not in (None, row.version):
            current = "not there" if row is None else f"at version {row.version}"
            raise VersionConflict(f"{resource_type}/{id} is {current}, not at version {expected_version}")
        return row.pk, row.version, row.deleted

    async def _replace(self, pk: int, stored: StoredResource, connection: AsyncConnection) -> None:
        await connection.execute(update(self._resource).where(self._resource.c.pk == pk).values(**_columns(stored)))
        for name in VALUE_TABLES:
            table = self._tables[name]
            await connection.execute(delete(table).where(table.c.pk == pk))
        await self._record(pk, stored, connection)

    async def _record(self, pk: int, stored: StoredResource, connection: AsyncConnection) -> None:
        """The version into the history, and its values into the value tables."""
        await connection.execute(insert(self._versions).values(**_columns(stored)))
        if stored.deleted:
            return
        rows: dict[str, list[dict[str, Any]]] = {}
        for table, row in self._indexer.rows(pk, stored.resource_type, content_of(stored.body)):
            names = KEY_COLUMNS + COLUMNS[table]
            rows.setdefault(table, []).append(dict(zip(names, row, strict=True)))
        for table, values in rows.items():
            await connection.execute(insert(self._tables[table]), values)

    async def _copy(self, batch: list[Resource], connection: AsyncConnection) -> None:
        pks = await self._new_pks(len(batch), connection)
        current: list[tuple[Any, ...]] = []
        values: dict[str, list[tuple[Any, ...]]] = {name: [] for name in VALUE_TABLES}
        for pk, resource in zip(pks, batch, strict=True):
            properties = top_level(resource)
            stored = self._version(properties, text_of(properties, "id") or str(uuid.uuid4()), 1)
            current.append((pk, *_columns(stored).values()))
            for table, row in self._indexer.rows(pk, stored.resource_type, content_of(stored.body)):
                values[table].append(row)
            await asyncio.sleep(0)  # requests that are being answered go first
        raw = (await connection.get_raw_connection()).driver_connection
        if raw is None:
            raise RuntimeError("the connection has no driver connection to copy through")
        await self._copy_rows(raw, "fhir_resource", ("pk", *_RESOURCE_COLUMNS), current)
        await self._copy_rows(raw, "fhir_resource_version", _RESOURCE_COLUMNS, [row[1:] for row in current])
        for table, rows in values.items():
            if rows:
                await self._copy_rows(raw, table, KEY_COLUMNS + COLUMNS[table], rows)

    async def _copy_rows(self, raw: Any, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        try:
            await raw.copy_records_to_table(table, schema_name=self.schema, columns=columns, records=rows)
        except asyncpg.UniqueViolationError:
            raise VersionConflict("one of the ids to be loaded is taken") from None

    async def _new_pks(self, count: int, connection: AsyncConnection) -> list[int]:
        sequence = func.pg_get_serial_sequence(f"{self.schema}.fhir_resource", "pk")
        numbers = select(func.nextval(sequence)).select_from(text("generate_series(1, :count)"))
        return list((await connection.execute(numbers, {"count": count})).scalars())


def _columns(stored: StoredResource) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in _RESOURCE_COLUMNS}


def _current(resource_type: str, row: dict[str, Any]) -> StoredResource:
    return StoredResource(resource_type, row["id"], row["version"], row["last_updated"], row["body"], False)
