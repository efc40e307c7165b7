"""Bulk export for backend services (HL7 Bulk Data Access 2.0): plain ASGI, in front of the proxy of single requests.

The upstream exports; what leaves is decided line by line, by each patient's consents of that moment
(docs/decisions/0023-bulk-export.md). All other requests go on to the proxy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

import structlog

from fhir.audit.event import AuditRecord, Outcome
from fhir.export.filter import ExportFilter
from fhir.export.jobs import ExportJobs, Job, TooManyJobs
from fhir.export.lines import BrokenExport
from fhir.export.manifest import expiry_header, job_url, manifest, progress_headers
from fhir.export.request import (
    MAX_BODY,
    TAKEN,
    Wanted,
    about_patients,
    check_prefer,
    narrowed_types,
    plan_export,
    read_wanted,
)
from fhir.export.stream import ExportStream, batches
from fhir.export.upstream import NDJSON, ExportFailed, ExportUpstream
from fhir.proxy.operation_parameters import read_parameters
from fhir.proxy.parts import ProxyParts
from fhir.proxy.refusals import refusal_of
from fhir.proxy.request import (
    FHIR_BODY,
    FHIR_PREFIX,
    ProxyRefusal,
    ProxyRequest,
    check_accept,
    read_body,
    read_request,
    single_headers,
)
from fhir.proxy.resource_view import ResourceViews
from fhir.proxy.responses import Message, Receive, Scope, Send, send_fhir, send_outcome
from fhir.r4.interaction import NO_EXPORT
from fhir.upstream.failure import UpstreamFailure
from policies.model import Access, Deny

MOST_DOWNLOADS: Final = 4
"""Files that one client downloads at a time from one process."""
_ID: Final = r"[A-Za-z0-9\-.]{1,64}"
_BEGIN: Final = re.compile(rf"/(|Patient/|Group/({_ID})/)\$export")
_JOB: Final = re.compile(r"/\$export/([A-Za-z0-9_-]{1,64})")
_FILE: Final = re.compile(r"/\$export/([A-Za-z0-9_-]{1,64})/([A-Z][A-Za-z]{1,63})\.ndjson")
_REFUSED: Final = frozenset({400, 422, 501})
"""How servers refuse types that they don't export (FHIR R4 §3.1.0.1.3 and practice)."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExportParts:
    """What the composition root hands in, beside the proxy's own."""

    jobs: ExportJobs
    upstream: ExportUpstream
    served: Callable[[str], bool]
    """Whether this upstream answers for a resource type."""
    views: ResourceViews
    """Its own: what runs through an export would push everything else out of the proxy's memory."""
    groups: frozenset[str]
    """Ids of the Groups that services may name."""
    max_line: int
    """Bytes of the largest resource."""


class BulkExport:
    """ASGI application for `$export` and what follows; everything else below the base is for `otherwise`."""

    def __init__(
        self, proxy: ProxyParts, parts: ExportParts, otherwise: Callable[[Scope, Receive, Send], Awaitable[None]]
    ) -> None:
        self._proxy = proxy
        self._parts = parts
        self._otherwise = otherwise
        self._downloads: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if "/$export" not in scope["path"]:
            await self._otherwise(scope, receive, send)
            return
        sent = _Sent(send)
        try:
            await self._answer(scope, receive, sent)
        except Exception as error:
            if isinstance(error, BrokenExport):
                _log.warning("export_broken", fault=error.fault)
            refusal = _refusal_of(error)
            if refusal is None or sent.begun:
                raise
            await send_outcome(send, refusal.status, refusal.code, refusal.text, headers=refusal.headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = bytes(scope.get("raw_path") or scope["path"].encode()).split(b"?")[0].decode("latin-1")
        path = path.removeprefix(FHIR_PREFIX)
        begin, job, file = _BEGIN.fullmatch(path), _JOB.fullmatch(path), _FILE.fullmatch(path)
        if not (begin or job or file):
            await self._otherwise(scope, receive, send)
            return
        allowed = ("GET", "POST") if begin else ("GET", "DELETE") if job else ("GET",)
        if scope["method"] not in allowed:
            allow = ((b"allow", ", ".join(allowed).encode()),)
            raise ProxyRefusal(405, "not-supported", "the method is not one for this path", headers=allow)
        request = await read_request(scope, receive)
        request.log["route"] = "/fhir/$export" + ("" if begin else "/{id}" if job else "/{id}/{type}.ndjson")
        access = await self._access(request)
        if begin:
            await self._begin(scope, receive, send, request, access, begin[1], begin[2])
        elif job:
            await (self._status if request.method == "GET" else self._cancel)(send, access, job[1])
        elif file:
            await self._download(receive, send, request, access, file[1], file[2])

    async def _access(self, request: ProxyRequest) -> Access:
        access = await self._proxy.gate.access(request.token)
        if not isinstance(access, Access):
            headers = ((b"www-authenticate", access.challenge("fhir").encode()),)
            raise ProxyRefusal(access.status, "login", access.description, headers=headers)
        request.log["client_id"] = access.client_id
        if not access.is_service:
            raise ProxyRefusal(403, "forbidden", NO_EXPORT)
        return access

    async def _begin(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: ProxyRequest,
        access: Access,
        level: str,
        group: str | None,
    ) -> None:
        headers = single_headers(scope)
        check_accept(request.accept)
        check_prefer(headers.get(b"prefer", b""))
        parameters = request.parameters
        if request.method == "POST":
            parameters = (*parameters, *read_parameters(await read_body(headers, receive, FHIR_BODY, MAX_BODY), TAKEN))
        wanted = read_wanted(parameters)
        asked = f"{level}$export" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            types = narrowed_types(wanted, access, self._proxy.catalogue, self._parts.served)
            if group is not None and group not in self._parts.groups:
                raise ProxyRefusal(404, "not-found", "there is no such group that may be exported")
        except ProxyRefusal as refusal:
            if refusal.status != 400:
                await self._note(request, access, asked, "4")
            raise
        await self._note(request, access, asked, "0")
        job_id = await self._started(access, asked, level, wanted, types)
        where = job_url(self._proxy.base, job_id).encode()
        await send_fhir(send, 202, b"", headers=((b"content-location", where),))

    async def _started(self, access: Access, asked: str, level: str, wanted: Wanted, types: tuple[str, ...]) -> str:
        """The id of a job at which the upstream is at work."""
        jobs, clock = self._parts.jobs, self._proxy.clock
        job_id = await jobs.begin(access.client_id, f"{self._proxy.base}/{asked}", types, clock())
        given = [("_outputFormat", NDJSON)] + ([] if wanted.since is None else [("_since", wanted.since)])
        try:
            status_url = await self._begun_upstream(level, wanted, types, given)
        except UpstreamFailure:
            await jobs.fail(job_id, access.client_id, clock())
            raise
        await jobs.started(job_id, access.client_id, status_url, clock())
        return job_id

    async def _begun_upstream(
        self, level: str, wanted: Wanted, types: Sequence[str], given: Sequence[tuple[str, str]]
    ) -> str:
        """Where the upstream's export is asked for; without what an upstream may refuse, if it refuses."""
        fewer = about_patients(wanted, level, types, self._proxy.catalogue)
        begin, path = self._parts.upstream.begin, f"{level}$export"
        try:
            return await begin(path, [*given, ("_type", ",".join(types))])
        except UpstreamFailure as failure:
            if failure.status not in _REFUSED or len(fewer) in (0, len(types)):
                raise
        return await begin(path, [*given, ("_type", ",".join(fewer))])

    async def _status(self, send: Send, access: Access, job_id: str) -> None:
        job = await self._job(access, job_id)
        finished = job.finished
        if finished is None:
            try:
                finished = await self._parts.upstream.status(job.status_url)
            except ExportFailed:
                await self._parts.jobs.fail(job_id, access.client_id, self._proxy.clock())
                raise
            if finished is None:
                await send_fhir(send, 202, b"", headers=progress_headers(job, self._proxy.clock()))
                return
            await self._parts.jobs.finish(job_id, access.client_id, finished, self._proxy.clock())
        body = manifest(self._proxy.base, job, finished)
        await send_fhir(send, 200, body, headers=expiry_header(job), content_type=b"application/json")

    async def _cancel(self, send: Send, access: Access, job_id: str) -> None:
        job = await self._parts.jobs.find(job_id, access.client_id, self._proxy.clock())
        if job is None:
            raise _no_job()
        await self._parts.jobs.cancel(job_id, access.client_id, self._proxy.clock())
        try:
            if job.status_url:
                await self._parts.upstream.cancel(job.status_url)
        except UpstreamFailure as failure:  # it is gone here, and the upstream's own ends by itself
            _log.warning("export_not_cancelled_upstream", kind=failure.kind)
        await send_fhir(send, 202, b"")

    async def _download(
        self, receive: Receive, send: Send, request: ProxyRequest, access: Access, job_id: str, kind: str
    ) -> None:
        job = await self._job(access, job_id)
        if job.finished is None or kind not in job.types:
            raise _no_job()
        plan = plan_export(access, kind, self._proxy.catalogue)
        if isinstance(plan, Deny):
            raise ProxyRefusal(403, "forbidden", plan.reasons[0].text)
        if self._downloads[access.client_id] >= MOST_DOWNLOADS:
            text = f"at most {MOST_DOWNLOADS} files are downloaded at a time"
            raise ProxyRefusal(429, "throttled", text, headers=((b"retry-after", b"10"),))
        urls = [file.url for file in job.finished.files if file.type == kind]

        async def goes_on() -> bool:
            there = await self._parts.jobs.find(job_id, access.client_id, self._proxy.clock())
            return there is not None and await self._proxy.gate.goes_on(access)

        origins = replace(self._proxy.origins, facts=self._parts.views.facts)
        stream = ExportStream(
            batches(self._parts.upstream, kind, urls, self._parts.max_line),
            ExportFilter(self._proxy.plans, self._parts.views, self._proxy.medications, origins, plan, kind),
            self._proxy.audit.record_all,
            goes_on,
            self._proxy.clock,
            request.request_id,
        )
        self._downloads[access.client_id] += 1
        try:
            await stream.send(receive, send)
        finally:
            self._downloads[access.client_id] -= 1
            self._downloads += Counter()  # forgets who has none

    async def _job(self, access: Access, job_id: str) -> Job:
        """A job that goes on. Raises ProxyRefusal, with one answer for another client's and for none."""
        job = await self._parts.jobs.find(job_id, access.client_id, self._proxy.clock())
        if job is None:
            raise _no_job()
        if job.failed or not job.status_url:
            raise ExportFailed
        return job

    async def _note(self, request: ProxyRequest, access: Access, asked: str, outcome: Outcome) -> None:
        """Put on record that an export was asked for; of whom something is shown is recorded when it is."""
        record = AuditRecord(
            kind="search",
            action="E",
            outcome=outcome,
            recorded=self._proxy.clock(),
            request_id=request.request_id,
            client_id=access.client_id,
            client_name=access.client_name,
            purpose=access.purpose,
            query=asked,
            interaction="operation",
            actors=access.actors,
        )
        await self._proxy.audit.record(record)


class _Sent:
    """Passes messages on, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _no_job() -> ProxyRefusal:
    return ProxyRefusal(404, "not-found", "there is no such export")


def _refusal_of(error: Exception) -> ProxyRefusal | None:
    if isinstance(error, TooManyJobs):
        text = "too many exports are under way or were begun lately"
        return ProxyRefusal(429, "throttled", text, headers=((b"retry-after", str(error.seconds).encode()),))
    if isinstance(error, ExportFailed):
        return ProxyRefusal(500, "exception", "the upstream FHIR server's export failed; begin another one")
    if isinstance(error, BrokenExport):
        return ProxyRefusal(502, "exception", "the upstream FHIR server's file is damaged")
    return refusal_of(error)
