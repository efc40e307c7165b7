"""`/fhir/Consent` as a FHIR R4 endpoint for recorders: those who may keep consents (authz.consents.recorders).

Who reaches it: `assent.dispatch` asks `serves` for every request below `/fhir/Consent` and `/fhir/Provenance`. A live
token of a recorder's own comes here; so does a gateway's, with `assent/introspect`, for `$explain` alone, and a request
without a token that counts, to be told so. Everybody else goes to the proxy (`fhir.proxy.app`), which shows apps
what its eight steps leave and lets nobody write (docs/leaks.md L60). It stands on this floor as an ended consent ends
grants.

A recorder serves every patient of this server, and every act is recorded with the recorder as its agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from authz.consents.api_call import Answer, Call
from authz.consents.api_reads import Asked, ConsentReads, refuse_parameters
from authz.consents.api_requests import consent_interaction
from authz.consents.explain import ConsentExplain
from authz.consents.explain_request import MAX_PARAMETERS, ExplainRequest, read_parameters, read_parameters_resource
from authz.consents.operations import ConsentOperations
from authz.consents.patch import CONSENT_PATCH_TYPES, read_consent_patch
from authz.consents.recorders import Recorder, recorder_of
from authz.consents.transitions import ConsentRefused, ConsentTransitions, Target, checked
from authz.context import AuthzContext
from authz.tokens.access_tokens import INVALID, TokenRefused
from authz.tokens.gate import TokenGate
from authz.tokens.introspection import INTROSPECT_SCOPE
from fhir.audit.event import AuditRecord
from fhir.consents.check import MAX_CONSENT
from fhir.consents.patient_lookup import PatientLookup
from fhir.proxy.refusals import refusal_of
from fhir.proxy.request import ProxyRefusal, check_accept, read_request
from fhir.proxy.responses import Receive, Scope, Send, send_bodiless, send_fhir
from fhir.r4.json_patch import MAX_PATCH, PatchRefused
from fhir.r4.operation_outcome import Issue, outcome_of
from fhir.r4.resource_body import encode_body, top_level
from fhir.search.literals import SearchError
from fhir.search.query import SearchQuery
from fhir.store.repository import StoredResource
from fhir.writes.request import (
    JSON_TYPES,
    read_body,
    read_headers,
    read_pairs,
    version_headers,
)
from policies.model import Access

_PATHS: Final = ("/fhir/Consent", "/fhir/Provenance")
_EXPLAIN: Final = "/$explain"
_BODILESS: Final = (204, 304)


def _recorder(access: Access, claims: Mapping[str, Any], *, explaining: bool) -> Recorder | None:
    """Who may keep consents with this token, or may have them explained; None when it isn't a recorder's."""
    by = recorder_of(access, claims)
    if by is None and explaining and access.is_service and INTROSPECT_SCOPE in str(claims["scope"]).split(" "):
        return Recorder(access.client_id, access.client_name, frozenset())
    return by


def _login(refused: TokenRefused) -> ProxyRefusal:
    challenge = ((b"www-authenticate", refused.challenge("fhir").encode()),)
    return ProxyRefusal(refused.status, "login", refused.description, headers=challenge)


class ConsentApi:
    """ASGI application for recorders below `/fhir/Consent` and `/fhir/Provenance`."""

    def __init__(
        self,
        context: AuthzContext,
        gate: TokenGate,
        reads: ConsentReads,
        explain: ConsentExplain,
        patients: PatientLookup,
    ) -> None:
        self._context = context
        self._gate = gate
        self._reads = reads
        self._explain = explain
        self._transitions = ConsentTransitions(context)
        self._operations = ConsentOperations(self._transitions, patients, context.fhir_base)

    async def serves(self, scope: Scope) -> bool:
        """Whether the request is a recorder's, or nobody's. When it is answered, the token is asked about again."""
        path = str(scope["path"])
        if not path.startswith(_PATHS):
            return False
        sent = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, token = (sent[0].decode("latin-1") if len(sent) == 1 else "").partition(" ")
        if scheme.lower() not in ("bearer", "dpop"):
            return True
        found = await self._gate.live(token)
        return isinstance(found, TokenRefused) or _recorder(*found, explaining=path.endswith(_EXPLAIN)) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = str(scope["method"])
        try:
            answer = await self._refusing(scope, receive)
        except ConsentRefused as refused:
            answer = Answer(refused.status, outcome_of(refused.issues))
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            answer = Answer(refusal.status, outcome_of([Issue(refusal.code, refusal.text)]), refusal.headers)
        if answer.status in _BODILESS:
            await send_bodiless(send, answer.status, headers=answer.headers)
        else:
            await send_fhir(send, answer.status, b"" if method == "HEAD" else answer.body, headers=answer.headers)

    async def _refusing(self, scope: Scope, receive: Receive) -> Answer:
        request = await read_request(scope, receive)
        interaction = consent_interaction(request.method, request.path)
        request.log["route"] = interaction.route
        check_accept(request.accept)
        found = await self._gate.claims(request.token)
        if isinstance(found, TokenRefused):
            raise _login(found)
        by = _recorder(*found, explaining=interaction.act == "explain")
        if by is None:
            raise _login(INVALID)  # it was a recorder's a moment ago
        request.log["client_id"] = by.client_id
        call = Call(Asked(by, request.request_id), interaction, request, read_headers(scope), receive)
        try:
            return await self._answer(call)
        except (ConsentRefused, ProxyRefusal, PatchRefused, SearchError) as refused:
            if interaction.writes:
                await self._record_refusal(call)
            if isinstance(refused, PatchRefused):
                issue = Issue(refused.code, refused.text, refused.expression)
                raise ConsentRefused(refused.status, issue) from refused
            raise

    async def _answer(self, call: Call) -> Answer:
        interaction, parameters = call.interaction, call.request.parameters
        if interaction.act == "explain":
            return Answer(200, await self._explain.answer(call.asked, interaction.id, await _question(call)))
        call.needs(interaction.letter)
        match interaction.act:
            case "read" | "vread":
                return await self._read(call)
            case "search-type":
                return Answer(200, await self._reads.search(call.asked, interaction.kind, parameters))
            case "history-instance" | "history-type":
                return Answer(200, await self._reads.history(call.asked, interaction.id, parameters))
            case "create":
                return await self._create(call)
            case "delete" | "conditional-delete":
                return await self._delete(call)
            case "patch" | "conditional-patch":
                return await self._patch(call)
            case "file" | "revoke":
                return await self._operation(call)
            case _:
                return await self._update(call)

    async def _read(self, call: Call) -> Answer:
        refuse_parameters(call.request.parameters)
        interaction = call.interaction
        version = interaction.version if interaction.act == "vread" else None
        found = await self._reads.read(call.asked, interaction.kind, interaction.id, version)
        headers = version_headers(found)
        return Answer(304, b"", headers) if call.headers.is_known(found.version) else Answer(200, found.body, headers)

    async def _create(self, call: Call) -> Answer:
        refuse_parameters(call.request.parameters)
        _check_new(call)
        body = await read_body(call.receive, call.headers.content_type, JSON_TYPES, MAX_CONSENT)
        unless = None
        if call.headers.if_none_exist is not None:
            unless = await self._criteria(call, read_pairs(call.headers.if_none_exist, "If-None-Exist"))
        written = await self._transitions.create(call.by, body, call.asked.request_id, unless)
        if written.created:
            return self._written(call, written.stored, 201)
        if call.may_read:
            await self._reads.read(call.asked, "Consent", written.stored.id)
        return self._written(call, written.stored, shown=call.may_read)

    async def _update(self, call: Call) -> Answer:
        body = await read_body(call.receive, call.headers.content_type, JSON_TYPES, MAX_CONSENT)
        target = await self._target(call)
        if target is None:
            raise _not_there("update")

        def change(current: StoredResource) -> bytes:
            return body if call.interaction.id else _with_id(body, current.id)

        stored = await self._transitions.update(call.by, target, call.headers.holds_for, change, call.asked.request_id)
        if stored is None:
            raise _not_there("update")
        return self._written(call, stored)

    async def _patch(self, call: Call) -> Answer:
        kind = call.headers.content_type
        raw = await read_body(call.receive, kind, CONSENT_PATCH_TYPES, MAX_PATCH)
        patch = read_consent_patch(raw, kind, self._context.repository.definitions)
        if patch.asks:
            call.needs("r")  # it asks what stands there (docs/leaks.md L46)
        target = await self._target(call)

        def change(current: StoredResource) -> bytes:
            return patch.apply(current.body)

        if target is None:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        stored = await self._transitions.update(call.by, target, call.headers.holds_for, change, call.asked.request_id)
        if stored is None:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        return self._written(call, stored, shown=call.may_read)

    async def _delete(self, call: Call) -> Answer:
        target = await self._target(call)
        if target is None:
            return Answer(204)
        stored = await self._transitions.delete(call.by, target, call.headers.holds_for, call.asked.request_id)
        return Answer(204, b"", () if stored is None else version_headers(stored))

    async def _operation(self, call: Call) -> Answer:
        """`$fileConsent` and `$revokeConsent`: an OperationOutcome, and in the headers the version that stands."""
        refuse_parameters(call.request.parameters)
        call.needs("s")  # whether an identifier is a patient's is an answer too (docs/leaks.md L44)
        if call.headers.if_none_exist is not None:
            raise ProxyRefusal(400, "not-supported", "the operation takes no `If-None-Exist`")
        body = await read_body(call.receive, call.headers.content_type, JSON_TYPES, MAX_CONSENT)
        by, request_id = call.by, call.asked.request_id
        if call.interaction.act == "file":
            _check_new(call)
            stored: StoredResource | None = await self._operations.file(by, body, request_id)
        else:
            stored = await self._operations.revoke(by, call.headers.holds_for, body, request_id)
        if stored is None:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        return self._written(call, stored, outcome=True)

    async def _target(self, call: Call) -> Target | None:
        """What a write is about; None when its criteria can't match anything."""
        if call.interaction.id:
            refuse_parameters(call.request.parameters)
            return Target(call.interaction.id)
        criteria = await self._criteria(call, call.request.parameters)
        return None if criteria is None else Target(criteria=criteria)

    async def _criteria(self, call: Call, pairs: Sequence[tuple[str, str]]) -> SearchQuery | None:
        """The search of a conditional write. Nothing in it may shape a result. Raises ProxyRefusal, SearchError."""
        call.needs("s")  # whether something matches is an answer too (docs/leaks.md L44)
        wanted = [pair for pair in pairs if pair[0] != "_format"]
        if not wanted:
            raise ProxyRefusal(400, "required", "a conditional write needs search criteria")
        if any(name.startswith("_") and name not in ("_id", "_lastUpdated") for name, _ in wanted):
            raise ProxyRefusal(400, "not-supported", "criteria take search parameters, `_id` and `_lastUpdated`")
        return await self._reads.criteria("Consent", wanted, 2)

    def _written(
        self, call: Call, stored: StoredResource, status: int = 200, *, shown: bool = True, outcome: bool = False
    ) -> Answer:
        """The answer to a write; not `shown`: the version holds what the caller neither sent nor may read (L45).

        `outcome`: an OperationOutcome, whatever is preferred.
        """
        location = f"{self._context.fhir_base}/Consent/{stored.id}/_history/{stored.version}"
        headers = version_headers(stored, location)
        match "OperationOutcome" if outcome else call.headers.returning:
            case "OperationOutcome":
                done = Issue("informational", f"version {stored.version} stands", severity="information")
                return Answer(status, outcome_of([done]), headers)
            case "representation" if shown:
                return Answer(status, stored.body, headers)
            case _:
                return Answer(status, b"", headers)

    async def _record_refusal(self, call: Call) -> None:
        id, act = call.interaction.id, call.interaction.letter
        record = AuditRecord(
            kind="consent",
            action="C" if act == "c" else "U" if act == "u" else "D",
            outcome="4",
            recorded=self._context.clock(),
            request_id=call.asked.request_id,
            client_id=call.by.client_id,
            client_name=call.by.client_name,
            entities=(f"Consent/{id}",) if id else (),
        )
        await self._context.audit.record(record)


async def _question(call: Call) -> ExplainRequest:
    if call.request.method != "POST":
        return read_parameters(call.request.parameters)
    refuse_parameters(call.request.parameters)
    return read_parameters_resource(
        await read_body(call.receive, call.headers.content_type, JSON_TYPES, MAX_PARAMETERS)
    )


def _with_id(body: bytes, id: str) -> bytes:
    """A body without an id, as a conditional update may have it, with that of the match. One with an id stays."""
    content = checked(body)
    return body if "id" in content else encode_body({**top_level(body), "id": id})


def _check_new(call: Call) -> None:
    """Raises ProxyRefusal."""
    if not call.headers.holds_for_new:
        raise ProxyRefusal(412, "conflict", "`If-None-Exist` is the only precondition that a create can have")


def _not_there(what: str) -> ProxyRefusal:
    """FHIR R4 §3.1.0.4.1: 405 where clients can't choose ids."""
    text = f"there is no such Consent to {what}; ids are this server's, create it with POST"
    return ProxyRefusal(405, "not-supported", text, headers=((b"allow", b"GET, HEAD, POST"),))
