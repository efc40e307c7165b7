"""The built-in upstream: a FHIR R4 server over a repository, for trying Assent without another server.

Capabilities, read, vread, instance history, create, update, delete (§3.1.0), search by GET and POST (§3.1.1) and bulk
export. Whoever has its bearer token may do everything; which patient's data may leave is the proxy's decision.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import parse_qsl

from fhir.r4.operation_outcome import operation_outcome
from fhir.search.literals import SearchError
from fhir.search.query import parse_search
from fhir.store.repository import Repository, StoredResource
from sandbox import writes
from sandbox.capability import capability_statement
from sandbox.export import Exports
from sandbox.history import history, read_paging
from sandbox.searchset import searchset
from sandbox.subset import summarized, with_elements

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_COUNT: Final = 500
MAX_BODY: Final = 65_536
_FORM: Final = b"application/x-www-form-urlencoded"
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")
_READ_PARAMETERS: Final = frozenset({"_summary", "_elements", "_format"})
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, its body FHIR JSON."""

    status: int
    body: bytes
    headers: Headers = ()


class _Refused(Exception):
    """A request that ends in an OperationOutcome."""

    def __init__(self, status: int, code: str, text: str, *, headers: Headers = (), at: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.answer: Final = Answer(status, operation_outcome(code, text, expression=at), headers)


def upstream_app(repository: Repository, *, base_url: str, bearer_token: str) -> ASGIApp:
    """The server as an ASGI application; `base_url` is where clients reach it, `bearer_token` what they must hold."""
    return _Upstream(repository, base_url.rstrip("/"), bearer_token)


class _Upstream:
    def __init__(self, repository: Repository, base_url: str, bearer_token: str) -> None:
        self._repository = repository
        self._definitions = repository.definitions
        self._base_url = base_url
        self._expected = b"Bearer " + bearer_token.encode("ascii")
        self._started = repository.clock()
        self._capabilities: bytes | None = None
        self._exports = Exports(repository, base_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            if "/$export" in scope["path"]:
                self._authenticate(scope)
                await self._exports(scope, send)
                return
            answer = await self._answer(scope, receive)
        except _Refused as refused:
            answer = refused.answer
        except writes.WriteRefused as refused_write:
            answer = Answer(refused_write.status, operation_outcome(refused_write.code, refused_write.text))
        except SearchError as error:
            # FHIR R4 OperationOutcome.issue.expression: for a parameter, `http.` and its name.
            at = (f"http.{error.parameter[:64]}",) if error.parameter.isprintable() and error.parameter else ()
            answer = Answer(400, operation_outcome(error.code, error.text, expression=at))
        except Exception as failure:  # the last resort: what went wrong may quote a patient's data, so only its kind
            _log.error("request failed with %s", type(failure).__name__)
            answer = Answer(500, operation_outcome("exception", "the server failed to answer; try again later"))
        await _send(send, answer, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        segments = scope["path"].removeprefix(scope.get("root_path", "")).strip("/").split("/")
        method = scope["method"]
        if segments == ["metadata"]:
            _allow(method, "GET")
            return Answer(200, self._metadata())
        self._authenticate(scope)
        resource_type, *rest = segments
        if resource_type not in self._definitions.resource_types:
            raise _Refused(404, "not-supported", "the address names no resource type of FHIR R4")
        match rest:
            case [] if method == "POST":
                body = await _body(scope, receive, b"application/fhir+json", writes.MAX_RESOURCE)
                return self._created(await writes.create(self._repository, resource_type, body))
            case [id] if method == "PUT" and _ID.fullmatch(id):
                body = await _body(scope, receive, b"application/fhir+json", writes.MAX_RESOURCE)
                stored = await writes.update(self._repository, resource_type, id, body, _if_match(scope))
                return Answer(200, stored.body, _version_headers(stored))
            case [id] if method == "DELETE" and _ID.fullmatch(id):
                stored = await writes.delete(self._repository, resource_type, id, _if_match(scope))
                return Answer(204, b"", _version_headers(stored))
            case []:
                _allow(method, "GET", more="POST")
                return await self._search(resource_type, _parameters(scope["query_string"]))
            case ["_search"]:
                _allow(method, "POST")
                form = _parameters(await _body(scope, receive, _FORM, MAX_BODY))
                return await self._search(resource_type, _parameters(scope["query_string"]) + form)
            case [id] if _ID.fullmatch(id):
                _allow(method, "GET", more="PUT, DELETE")
                found = await self._repository.read(resource_type, id)
                return self._resource(found, resource_type, _parameters(scope["query_string"]))
            case [id, "_history"] if _ID.fullmatch(id):
                _allow(method, "GET")
                return await self._history(resource_type, id, _parameters(scope["query_string"]))
            case [id, "_history", version] if _ID.fullmatch(id):
                _allow(method, "GET")
                known = _VERSION.fullmatch(version)
                found = await self._repository.vread(resource_type, id, int(version)) if known else None
                return self._resource(found, resource_type, _parameters(scope["query_string"]))
        raise _Refused(404, "not-supported", "there is nothing at this address")

    def _authenticate(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not compare_digest(given[0], self._expected):
            challenge = [(b"www-authenticate", b"Bearer")]
            raise _Refused(401, "login", "a valid bearer token is needed", headers=challenge)

    def _metadata(self) -> bytes:
        if self._capabilities is None:
            self._capabilities = capability_statement(self._definitions, base_url=self._base_url, date=self._started)
        return self._capabilities

    def _resource(self, found: StoredResource | None, resource_type: str, parameters: list[tuple[str, str]]) -> Answer:
        for name, _ in parameters:
            if name not in _READ_PARAMETERS:
                raise _Refused(400, "not-supported", "a read takes `_summary`, `_elements` and `_format` only")
        shape = parse_search(resource_type, parameters, self._definitions, max_count=1)
        if shape.summary == "count":
            raise _Refused(400, "value", "`_summary=count` is for searches; a read has one resource", at=("_summary",))
        if found is None:
            raise _Refused(404, "not-found", "there is no resource or version with this id")
        headers = _version_headers(found)
        if found.deleted:
            raise _Refused(410, "deleted", "the resource was deleted", headers=headers)
        body = summarized(found.body, resource_type, shape.summary, self._definitions)
        return Answer(200, with_elements(body, resource_type, shape.elements, self._definitions), headers)

    def _created(self, stored: StoredResource) -> Answer:
        where = f"{self._base_url}/{stored.resource_type}/{stored.id}/_history/{stored.version}"
        headers = [*_version_headers(stored), (b"location", where.encode("ascii"))]
        return Answer(201, stored.body, headers)

    async def _history(self, resource_type: str, id: str, parameters: list[tuple[str, str]]) -> Answer:
        count, before = read_paging(parameters, MAX_COUNT)
        versions = await self._repository.history(resource_type, id, before=before, count=count + 1)
        if not versions:
            raise _Refused(404, "not-found", "there is no resource with this id, or no older version")
        return Answer(200, history(f"{resource_type}/{id}", versions, count, base_url=self._base_url))

    async def _search(self, resource_type: str, parameters: list[tuple[str, str]]) -> Answer:
        query = parse_search(resource_type, parameters, self._definitions, max_count=MAX_COUNT, base_url=self._base_url)
        page = await self._repository.search(query)
        return Answer(200, searchset(query, page, self._definitions, base_url=self._base_url))


def _allow(method: str, allowed: str, *, more: str = "") -> None:
    """`more`: other methods of the address, answered elsewhere."""
    if method == allowed or (method == "HEAD" and allowed == "GET"):
        return
    methods = ", ".join(part for part in ("GET, HEAD" if allowed == "GET" else allowed, more) if part)
    headers = [(b"allow", methods.encode("ascii"))]
    raise _Refused(405, "not-supported", f"this address takes {methods.replace(', HEAD', '')} only", headers=headers)


def _parameters(encoded: bytes) -> list[tuple[str, str]]:
    try:
        text = encoded.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:  # UnicodeDecodeError is one
        raise _Refused(400, "invalid", "the parameters are too many or not percent-encoded UTF-8") from None


def _if_match(scope: Scope) -> bytes | None:
    given = [value for name, value in scope["headers"] if name == b"if-match"]
    return bytes(given[0]) if len(given) == 1 else None


async def _body(scope: Scope, receive: Receive, kind: bytes, most: int) -> bytes:
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != kind:
        raise _Refused(415, "not-supported", f"the body must be `{kind.decode()}`")
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "invalid", "the request ended early")
        body += message.get("body", b"")
        if len(body) > most:
            raise _Refused(413, "too-long", f"the body may have {most} bytes at most")
        more = message.get("more_body", False)
    return body


def _version_headers(found: StoredResource) -> Headers:
    modified = format_datetime(found.last_updated.replace(microsecond=0), usegmt=True)
    return [(b"etag", f'W/"{found.version}"'.encode("ascii")), (b"last-modified", modified.encode("ascii"))]


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    headers = [
        (b"content-type", b"application/fhir+json; charset=utf-8"),
        (b"content-length", str(len(answer.body)).encode("ascii")),
        (b"cache-control", b"no-store"),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
