"""Every version of a resource, or of all of a type, newest first, page by page: FHIR R4 §3.1.0.11.

The cursor says where the next page starts: the last version shown. Whoever may see a history may see all of it, so it
needs no seal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.r4.instants import instant_of
from fhir.r4.resource_body import etag
from fhir.search.literals import SearchError
from fhir.search.query import CURSOR
from fhir.store.repository import StoredResource
from fhir.store.tables import store_metadata

DEFAULT_COUNT: Final = 50
MAX_COUNT: Final = 500
_CURSOR: Final = re.compile(r"([0-9T:.+-]{19,40})~([A-Za-z0-9.-]{1,64})~([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which versions: of one resource, or of all of the type when `id` is empty."""

    resource_type: str
    id: str
    count: int
    since: datetime | None
    after: tuple[datetime, str, int] | None
    parameters: tuple[tuple[str, str], ...]
    """Those given, the cursor apart."""


def read_history(resource_type: str, id: str, parameters: Sequence[tuple[str, str]]) -> HistoryQuery:
    """Read `_count`, `_since` and the cursor. Raises SearchError for anything else."""
    given = dict(parameters)
    unknown = set(given) - {"_count", "_since", "_format", CURSOR}
    if unknown or len(given) != len(parameters):
        raise SearchError("not-supported", "", "a history takes `_count`, `_since` and `_format`, each once")
    count = given.get("_count", str(DEFAULT_COUNT))
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        raise SearchError("value", "_count", "`_count` must be a number")
    since = instant_of(given["_since"], end=False) if "_since" in given else None
    if "_since" in given and since is None:
        raise SearchError("value", "_since", "`_since` must be an instant")
    return HistoryQuery(
        resource_type,
        id,
        max(1, min(int(count), MAX_COUNT)),
        since,
        _position(given[CURSOR]) if CURSOR in given else None,
        tuple(pair for pair in parameters if pair[0] != CURSOR),
    )


def _position(cursor: str) -> tuple[datetime, str, int]:
    found = _CURSOR.fullmatch(cursor)
    try:
        if found is not None:
            moment = datetime.fromisoformat(found[1])
            if moment.tzinfo is not None:
                return moment, found[2], int(found[3])
    except ValueError:
        pass
    raise SearchError("value", CURSOR, f"`{CURSOR}` is none that this server made")


class VersionHistory:
    """The versions in one PostgreSQL schema."""

    def __init__(self, engine: AsyncEngine, *, schema: str) -> None:
        self._engine = engine
        self._versions = store_metadata(schema).tables[f"{schema}.fhir_resource_version"]

    async def page(self, query: HistoryQuery) -> tuple[list[StoredResource], str | None]:
        """A page, and the cursor of the next one when there is one."""
        v = self._versions.c
        wanted = select(self._versions).where(v.resource_type == query.resource_type)
        if query.id:
            wanted = wanted.where(v.id == query.id)
        if query.since is not None:
            wanted = wanted.where(v.last_updated >= query.since)
        if query.after is not None:
            wanted = wanted.where(tuple_(v.last_updated, v.id, v.version) < query.after)
        wanted = wanted.order_by(v.last_updated.desc(), v.id.desc(), v.version.desc()).limit(query.count + 1)
        async with self._engine.connect() as connection:
            rows = [StoredResource(**row) for row in (await connection.execute(wanted)).mappings()]
        if len(rows) <= query.count:
            return rows, None
        last = rows[query.count - 1]
        return rows[: query.count], f"{last.last_updated.isoformat()}~{last.id}~{last.version}"


def history_bundle(versions: Sequence[StoredResource], base: str, links: Sequence[tuple[str, str]]) -> bytes:
    """A Bundle of type `history`; a deletion is an entry without a resource."""
    return msgspec.json.encode(
        {
            "resourceType": "Bundle",
            "type": "history",
            "link": [{"relation": relation, "url": url} for relation, url in links],
            "entry": [_entry(version, base) for version in versions],
        }
    )


def _entry(stored: StoredResource, base: str) -> dict[str, object]:
    name = f"{stored.resource_type}/{stored.id}"
    created = stored.version == 1
    method = "DELETE" if stored.deleted else "POST" if created else "PUT"
    status = "204" if stored.deleted else "201" if created else "200"
    entry: dict[str, object] = {"fullUrl": f"{base}/{name}"}
    if not stored.deleted:
        entry["resource"] = msgspec.Raw(stored.body)
    return entry | {
        "request": {"method": method, "url": stored.resource_type if created else name},
        "response": {"status": status, "etag": etag(stored.version), "lastModified": stored.last_updated},
    }
