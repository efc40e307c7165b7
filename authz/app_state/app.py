"""`/app-state`: a FHIR endpoint at which apps keep a little state of their own (SMART App Launch 2.2, "App State").

It stands apart from `/fhir`, whose `Basic` resources are the upstream's (`associated_endpoints` in discovery). The
steps of a request stand in order in `_answer`. Whatever isn't the app's own and open to its token isn't there: an id
answers the same whether another app has it, it was deleted, or it never was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from authz.app_state.body import MAX_STATE, StateBody, is_state_code, read_state, subject_in
from authz.app_state.rights import StateRights, rights_of
from authz.app_state.rows import (
    MOST_STATES,
    KeptState,
    TooManyStates,
    create_state,
    delete_state,
    find_state,
    find_states,
    replace_state,
    same_kind,
)
from authz.app_state.statement import statement
from authz.context import AuthzContext
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.gate import TokenGate
from fhir.audit.event import Action, AuditRecord, Kind
from fhir.proxy.refusals import refusal_of
from fhir.proxy.request import ProxyRefusal, ProxyRequest, check_accept, read_request
from fhir.proxy.responses import Headers, Receive, Scope, Send, send_bodiless, send_fhir, send_outcome
from fhir.r4.resource_body import etag
from fhir.writes.request import JSON_TYPES, WriteHeaders, http_date, read_body, read_headers

PREFIX: Final = "/app-state"
_ONE: Final = re.compile(r"/Basic/([A-Za-z0-9.-]{1,64})", re.ASCII)
_FORMATS: Final = frozenset({"json", "application/json", "application/fhir+json", "text/json"})
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="app-state", error="insufficient_scope"'),)
_NOT_OPEN: Final = (403, 404, 412)
"""Statuses of what is refused by what the token opens, or by what stands; others are about how it was asked."""
_CHANGES: Final[Mapping[str, Action]] = {"POST": "C", "PUT": "U", "DELETE": "D"}
_STALE: Final = "there is no such state at the version that `If-Match` names"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of an app."""

    request: ProxyRequest
    headers: WriteHeaders
    receive: Receive
    rights: StateRights
    id: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: Headers = ()


_Act = Callable[[_Call], Coroutine[Any, Any, _Answer]]


class AppStates:
    """ASGI application below `/app-state`."""

    def __init__(self, context: AuthzContext, gate: TokenGate) -> None:
        self._context = context
        self._gate = gate
        self._base = f"{context.issuer}{PREFIX}"
        self._of_type: dict[str, dict[str, _Act]] = {
            "/Basic": {"GET": self._search, "POST": self._create},
            "/Basic/_search": {"POST": self._search},
        }
        self._of_one: dict[str, _Act] = {"GET": self._read, "PUT": self._update, "DELETE": self._delete}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(scope, receive)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            await send_outcome(send, refusal.status, refusal.code, refusal.text, headers=refusal.headers)
            return
        if answer.status == 204:
            await send_bodiless(send, 204)
        else:
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send_fhir(send, answer.status, body, headers=answer.headers)

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        request = await read_request(scope, receive)
        check_accept(request.accept)
        method, path = "GET" if request.method == "HEAD" else request.method, request.path.removeprefix(PREFIX)
        if path == "/metadata":
            request.log["route"] = f"{PREFIX}/metadata"
            _one_of(["GET"], method)
            return _Answer(200, statement(self._context.issuer, self._base, self._context.clock().date().isoformat()))
        found = _ONE.fullmatch(path)
        acts = self._of_type.get(path) if found is None else self._of_one
        if acts is None:
            raise ProxyRefusal(404, "not-found", "there is nothing at this path")
        request.log["route"] = PREFIX + (path if found is None else "/Basic/{id}")
        _one_of(list(acts), method)
        rights = await self._rights(request)
        request.log["client_id"] = rights.client_id
        call = _Call(request, read_headers(scope), receive, rights, "" if found is None else found[1])
        try:
            return await acts[method](call)
        except ProxyRefusal as refusal:
            if refusal.status in _NOT_OPEN:
                await self._context.audit.record(self._refused(call, method))
            raise

    async def _rights(self, request: ProxyRequest) -> StateRights:
        found = await self._gate.claims(request.token)
        rights = found if isinstance(found, TokenRefused) else await rights_of(self._context, *found)
        if isinstance(rights, TokenRefused):
            challenge = ((b"www-authenticate", rights.challenge("app-state").encode()),)
            raise ProxyRefusal(rights.status, "login", rights.description, headers=challenge)
        return rights

    async def _create(self, call: _Call) -> _Answer:
        state = await self._sent(call, "c")
        if state.id is not None or state.version_given:
            raise ProxyRefusal(422, "invalid", "a new state has neither `id` nor `meta.versionId`")
        if not call.rights.allow("c", state.subject, state.code):
            raise _forbidden("c")
        try:
            async with self._context.engine.begin() as connection:
                kept = await create_state(connection, call.rights.client_id, state, self._context.clock())
                await self._context.audit.record(self._record(call, "C", [kept]), connection)
        except TooManyStates as full:
            text = f"an app can keep {MOST_STATES} states about one subject; update or delete one"
            raise ProxyRefusal(422, "too-costly", text) from full
        location = (b"location", f"{self._base}/Basic/{kept.id}".encode())
        return _Answer(201, kept.body, (*_version(kept), location))

    async def _read(self, call: _Call) -> _Answer:
        _refuse_parameters(call.request.parameters)
        _needs(call, "r")
        async with self._context.engine.connect() as connection:
            kept = await find_state(connection, call.rights.client_id, call.id)
        if kept is None or not call.rights.allow("r", kept.subject, kept.code):
            raise ProxyRefusal(404, "not-found", "there is no such state")
        await self._context.audit.record(self._record(call, "R", [kept]))
        return _Answer(200, kept.body, _version(kept))

    async def _search(self, call: _Call) -> _Answer:
        code, subject = self._criteria(call.request.parameters)
        if not call.rights.allow("s", subject, code):
            raise _forbidden("s")
        async with self._context.engine.connect() as connection:
            kept = await find_states(connection, call.rights.client_id, code, subject)
        await self._context.audit.record(self._record(call, "E", kept))
        address = f"{self._base}/Basic?{urlencode(call.request.parameters)}"
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(kept),
            "link": [{"relation": "self", "url": address}],
        }
        entries = [
            {"fullUrl": f"{self._base}/Basic/{k.id}", "resource": msgspec.Raw(k.body), "search": {"mode": "match"}}
            for k in kept
        ]
        return _Answer(200, msgspec.json.encode({**bundle, **({"entry": entries} if entries else {})}))

    async def _update(self, call: _Call) -> _Answer:
        state = await self._sent(call, "u")
        if state.id != call.id:
            raise ProxyRefusal(400, "invalid", "`id` must be the one in the address")
        async with self._context.engine.begin() as connection:
            current = await find_state(connection, call.rights.client_id, call.id, to_change=True)
            current = _held(call, "u", current)
            if not same_kind(current, state):
                raise ProxyRefusal(412, "conflict", "`code` and `subject` can't change")
            kept = await replace_state(connection, current, state, self._context.clock())
            await self._context.audit.record(self._record(call, "U", [kept]), connection)
        return _Answer(200, kept.body, _version(kept))

    async def _delete(self, call: _Call) -> _Answer:
        _refuse_parameters(call.request.parameters)
        _needs(call, "d")
        _needs_version(call)
        async with self._context.engine.begin() as connection:
            current = await find_state(connection, call.rights.client_id, call.id, to_change=True)
            current = _held(call, "d", current)
            await delete_state(connection, current)
            await self._context.audit.record(self._record(call, "D", [current]), connection)
        return _Answer(204)

    async def _sent(self, call: _Call, letter: str) -> StateBody:
        """The body of a write."""
        _refuse_parameters(call.request.parameters)
        _needs(call, letter)
        if letter == "u":
            _needs_version(call)
        raw = await read_body(call.receive, call.headers.content_type, JSON_TYPES, MAX_STATE)
        return read_state(raw, self._context.fhir_base)

    def _criteria(self, parameters: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """`code`, and `subject` or `subject:missing=true`; nothing else is a query of App State here."""
        given = dict(parameters)
        if given.pop("_format", "json").lower() not in _FORMATS:
            raise ProxyRefusal(406, "not-supported", "only application/fhir+json is served")
        shapes: tuple[set[str], ...] = ({"code", "subject"}, {"code", "subject:missing"})
        if len(dict(parameters)) < len(parameters) or given.keys() not in shapes:
            raise ProxyRefusal(
                400, "not-supported", "ask for `code` and `subject`, or `code` and `subject:missing=true`"
            )
        subject = ""
        if "subject" in given:
            subject = subject_in(given["subject"], self._context.fhir_base) or ""
            if not subject:
                text = f"`subject` must be an absolute reference below {self._context.fhir_base}"
                raise ProxyRefusal(400, "invalid", text)
        elif given["subject:missing"] != "true":
            raise ProxyRefusal(400, "not-supported", "`subject:missing` must be `true`")
        if not is_state_code(given["code"]):
            raise ProxyRefusal(400, "invalid", "`code` must be `system|code`")
        return given["code"], subject

    def _record(self, call: _Call, action: Action, states: Sequence[KeptState]) -> AuditRecord:
        kind: Kind = "read" if action == "R" else "search" if action == "E" else "state"
        about = {state.subject for state in states if state.subject.startswith("Patient/")}
        return AuditRecord(
            kind=kind,
            action=action,
            outcome="0",
            recorded=self._context.clock(),
            request_id=call.request.request_id,
            client_id=call.rights.client_id,
            client_name=call.rights.client_name,
            user=call.rights.user,
            patient=next(iter(about)).removeprefix("Patient/") if about else None,
            entities=tuple(f"Basic/{state.id}" for state in states),
        )

    def _refused(self, call: _Call, method: str) -> AuditRecord:
        """What was asked for and isn't open, or isn't there: both are recorded alike, as they are answered.

        It goes to the patient in context, as a refused read does.
        """
        action: Action = "R" if call.id else "E"
        if method in _CHANGES and not call.request.path.endswith("/_search"):
            action = _CHANGES[method]
        record = self._record(call, action, ())
        patient = (call.rights.patient or "").removeprefix("Patient/") or None
        about = f"Basic/{call.id}" if call.id else "Basic"
        return msgspec.structs.replace(record, outcome="4", patient=patient, entities=(about,))


def _held(call: _Call, letter: str, current: KeptState | None) -> KeptState:
    """The state that a change is about. One answer for all that it may not be (SMART 2.2: a failed precondition)."""
    if (
        current is None
        or not call.rights.allow(letter, current.subject, current.code)
        or not call.headers.holds_for(current.version)
    ):
        raise ProxyRefusal(412, "conflict", _STALE)
    return current


def _needs(call: _Call, letter: str) -> None:
    if not call.rights.has(letter):
        raise _forbidden(letter)


def _needs_version(call: _Call) -> None:
    """`If-Match` with an ETag; `*` names no version."""
    if call.headers.if_match is None or "*" in call.headers.if_match:
        raise ProxyRefusal(400, "required", "`If-Match` must name the version that you know")


def _forbidden(letter: str) -> ProxyRefusal:
    text = f"the token opens no such state: it needs a scope such as `user/Basic.{letter}`, for this subject and code"
    return ProxyRefusal(403, "forbidden", text, headers=_CHALLENGE)


def _refuse_parameters(parameters: Sequence[tuple[str, str]]) -> None:
    if any(name != "_format" or value.lower() not in _FORMATS for name, value in parameters):
        raise ProxyRefusal(400, "not-supported", "`_format` is the only parameter here, and its value is `json`")


def _one_of(methods: list[str], method: str) -> None:
    if method not in methods:
        allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
        headers = ((b"allow", allowed.encode()),)
        raise ProxyRefusal(405, "not-supported", "the method is not supported here", headers=headers)


def _version(kept: KeptState) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"etag", etag(kept.version).encode()), (b"last-modified", http_date(kept.updated).encode()))
