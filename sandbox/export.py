"""The built-in upstream's bulk export (HL7 Bulk Data Access 2.0): of the system, of patients, of a group.

Small, but the real thing over HTTP: kick-off, status, files as NDJSON (packed when asked), cancelling. Files are read
from the store when they are fetched. Jobs live as long as the process; the oldest go first.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from fhir.r4.operation_outcome import operation_outcome
from fhir.r4.resource_body import instant
from fhir.search.query import CURSOR, parse_search
from fhir.store.repository import Repository

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_JOBS: Final = 200
DIRECTORY: Final = frozenset({"Location", "Medication", "Organization", "Practitioner", "PractitionerRole"})
"""What records refer to: it comes along with those of a group."""
_PAGE: Final = 500
_BEGIN: Final = re.compile(r"/(?:(Patient)/|Group/([A-Za-z0-9.-]{1,64})/)?\$export")
_JOB: Final = re.compile(r"/\$export-jobs/([A-Za-z0-9_-]{1,64})")
_FILE: Final = re.compile(r"/\$export-jobs/([A-Za-z0-9_-]{1,64})/([A-Z][A-Za-z]{1,63})\.ndjson")
_TAKEN: Final = frozenset({"_type", "_since", "_outputFormat"})


@dataclass(slots=True)
class _Job:
    request: str
    types: tuple[str, ...]
    since: str | None
    members: str | None
    """Ids of a group's patients, separated by commas; None for no group."""
    made_at: str
    asked: bool = False


class Exports:
    """Answers every path with `$export`; whoever may ask has been authenticated."""

    def __init__(self, repository: Repository, base_url: str) -> None:
        self._repository = repository
        self._base_url = base_url
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Answer one request."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        method, headers = scope["method"], dict(scope["headers"])
        if method == "GET" and (begin := _BEGIN.fullmatch(path)):
            await self._begin(send, path, scope["query_string"].decode("ascii", "replace"), headers, begin)
        elif (found := _JOB.fullmatch(path)) and (job := self._jobs.get(found[1])):
            if method == "DELETE":
                del self._jobs[found[1]]
                await _send(send, 202)
            else:
                await self._status(send, found[1], job)
        elif method == "GET" and (found := _FILE.fullmatch(path)) and (job := self._jobs.get(found[1])):
            await self._file(send, job, found[2], packed=b"gzip" in headers.get(b"accept-encoding", b""))
        else:
            await _refuse(send, 404, "not-found", "there is no such export")

    async def _begin(
        self, send: Send, path: str, query: str, headers: dict[bytes, bytes], begin: re.Match[str]
    ) -> None:
        parameters, known = parse_qs(query), self._repository.definitions.resource_types
        types = [kind for value in parameters.get("_type", ()) for kind in value.split(",")] or sorted(known)
        if b"respond-async" not in headers.get(b"prefer", b"") or not parameters.keys() <= _TAKEN:
            await _refuse(send, 400, "invalid", "an export needs `Prefer: respond-async`, and takes few parameters")
            return
        if not set(types) <= set(known):
            await _refuse(send, 400, "invalid", "`_type` names what is no resource type of R4")
            return
        members = await self._members(begin[2]) if begin[2] else None
        if begin[2] and members is None:
            await _refuse(send, 404, "not-found", "there is no such group")
            return
        since = parameters.get("_since", [None])[0]
        job = _Job(f"{self._base_url}{path}?{query}", tuple(types), since, members, instant(self._repository.clock()))
        job_id = secrets.token_urlsafe(16)
        self._jobs[job_id] = job
        if len(self._jobs) > MOST_JOBS:
            self._jobs.popitem(last=False)
        where = f"{self._base_url}/$export-jobs/{job_id}"
        await _send(send, 202, headers=[(b"content-location", where.encode())])

    async def _members(self, group: str) -> str | None:
        found = await self._repository.read("Group", group)
        if found is None or found.deleted:
            return None
        members = msgspec.json.decode(found.body).get("member", ())
        return ",".join(member["entity"]["reference"].removeprefix("Patient/") for member in members)

    async def _status(self, send: Send, job_id: str, job: _Job) -> None:
        """Under way when asked first, done afterwards: who polls can be seen to poll."""
        if not job.asked:
            job.asked = True
            await _send(send, 202, headers=[(b"x-progress", b"just begun"), (b"retry-after", b"1")])
            return
        files = [kind for kind in job.types if await self._has(job, kind)]
        output = [{"type": kind, "url": f"{self._base_url}/$export-jobs/{job_id}/{kind}.ndjson"} for kind in files]
        told = {"transactionTime": job.made_at, "request": job.request, "requiresAccessToken": True}
        await _send(send, 200, msgspec.json.encode({**told, "output": output, "error": []}))

    async def _has(self, job: _Job, kind: str) -> bool:
        async for _ in self._lines(job, kind):
            return True
        return False

    async def _file(self, send: Send, job: _Job, kind: str, *, packed: bool) -> None:
        headers = [(b"content-type", b"application/fhir+ndjson")]
        headers += [(b"content-encoding", b"gzip")] if packed else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        deflate = zlib.compressobj(wbits=31) if packed else None
        if kind in job.types:
            async for lines in self._lines(job, kind):
                body = lines if deflate is None else deflate.compress(lines)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if deflate is None else deflate.flush()})

    async def _lines(self, job: _Job, kind: str) -> AsyncIterator[bytes]:
        """The resources of a type, a page at a time, one a line."""
        definitions = self._repository.definitions
        pairs = [("_count", str(_PAGE)), ("_total", "none")]
        if job.since is not None:
            pairs.append(("_lastUpdated", f"ge{job.since}"))
        if job.members is not None:
            owner = "_id" if kind == "Patient" else "patient"
            if owner == "_id" or owner in definitions.search_parameters(kind):
                pairs.append((owner, job.members))
            elif kind not in DIRECTORY:
                return
        cursor: str | None = ""
        while cursor is not None:
            after = [(CURSOR, cursor)] if cursor else []
            query = parse_search(kind, [*pairs, *after], definitions, max_count=_PAGE)
            page = await self._repository.search(query)
            if page.matches:
                yield b"".join(found.body + b"\n" for found in page.matches)
            cursor = page.next_cursor


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    await _send(send, status, operation_outcome(code, text), [(b"content-type", b"application/fhir+json")])


async def _send(send: Send, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
    about = headers or [(b"content-type", b"application/json")]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*about, length]})
    await send({"type": "http.response.body", "body": body})
