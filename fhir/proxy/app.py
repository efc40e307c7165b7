"""The enforcement point: plain ASGI under `/fhir`. What an app may see of what the upstream answers, and no more.

The eight steps of docs/architecture.md, "A request, end to end", stand in `FhirProxy._answer` in their order. Deny is
the default at each; no body leaves before its audit record is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from fhir.proxy import ticks
from fhir.proxy.access_records import record_of_refusal, records_of_answer
from fhir.proxy.across_types import answer_everything, answer_system_search
from fhir.proxy.batch import answer_batch
from fhir.proxy.history import answer_history
from fhir.proxy.operation_parameters import with_parameters
from fhir.proxy.parts import Answered, Asked, NothingOpened, ProxyParts
from fhir.proxy.reading import answer_read
from fhir.proxy.refusals import refusal_of
from fhir.proxy.request import ProxyRefusal, ProxyRequest, check_accept, read_request
from fhir.proxy.responses import Receive, Scope, Send, send_bodiless, send_fhir, send_outcome
from fhir.proxy.searching import answer_search
from fhir.proxy.still_open import check_still_open, refused_token
from fhir.r4.interaction import Interaction, Unsupported, interaction_of
from fhir.upstream.upstreams import TypeNotServed
from fhir.writes.reading import read_write
from fhir.writes.writing import answer_create, answer_delete, answer_patch, answer_update
from policies.model import Access, Deny

_ROUTES: Final = {
    "capabilities": "/fhir/metadata",
    "read": "/fhir/{type}/{id}",
    "vread": "/fhir/{type}/{id}/_history/{version}",
    "history-instance": "/fhir/{type}/{id}/_history",
    "search-type": "/fhir/{type}",
    "search-system": "/fhir",
    "operation": "/fhir/Patient/{id}/$everything",
    "batch": "/fhir (batch)",
    "create": "/fhir/{type}",
    "update": "/fhir/{type}/{id}",
    "patch": "/fhir/{type}/{id}",
    "delete": "/fhir/{type}/{id}",
}
_ANSWERS: Final[Mapping[str, Callable[[ProxyParts, Asked], Awaitable[Answered]]]] = {
    "read": answer_read,
    "vread": answer_read,
    "history-instance": answer_history,
    "search-type": answer_search,
    "search-system": answer_system_search,
    "operation": answer_everything,
    "create": answer_create,
    "update": answer_update,
    "patch": answer_patch,
    "delete": answer_delete,
}
"""Steps 4 to 6, by interaction; what writes is recorded there too, before and after (fhir/writes/writing.py)."""


class FhirProxy:
    """ASGI application for everything under the FHIR base."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request below the FHIR base (`scope["path"]` still holds the whole path)."""
        try:
            request = await with_parameters(scope, receive, await read_request(scope, receive))
            if self._parts.writes is not None:
                request = await read_write(scope, receive, request)
            answered = await self._answer(request)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            await send_outcome(send, refusal.status, refusal.code, refusal.text, headers=refusal.headers)
            return
        body = b"" if request.method == "HEAD" else answered.body
        if answered.status == 204:
            await send_bodiless(send, 204, headers=answered.headers)
            return
        await send_fhir(send, answered.status, body, headers=answered.headers, content_type=answered.content_type)

    async def _answer(self, request: ProxyRequest, *, admitted: bool = False) -> Answered:
        parts, begun = self._parts, ticks.now()
        interaction = interaction_of(request.method, request.path, writes=parts.writes is not None)
        request.log["route"] = _route(interaction)
        if isinstance(interaction, Unsupported):
            allow = ((b"allow", ", ".join(interaction.allow).encode()),) if interaction.allow else ()
            raise ProxyRefusal(interaction.status, interaction.code, interaction.text, headers=allow)
        if interaction.resource_type != "Binary":  # a Binary comes in its own type
            check_accept(request.accept)
        if interaction.code == "capabilities":
            return Answered(parts.capability_statement, None)
        # 1 token
        access = await self._access(request, admitted=admitted)
        request.log["client_id"] = access.client_id
        if interaction.code == "batch":
            # Each entry takes all steps by itself; whoever sent it has proven to be who they are.
            now = parts.clock()
            body, plans = await answer_batch(request, partial(self._answer, admitted=True))
            await check_still_open(parts, request, interaction, plans, now)
            return Answered(body, None)
        # 2 consent, 3 decide; a service's plan is completed by the patients whom it comes upon
        now = parts.clock()
        plan = await parts.plans.begin(access, interaction, now)
        if isinstance(plan, Deny):
            await parts.audit.record(record_of_refusal(request, access, interaction, now))
            raise ProxyRefusal(403, "forbidden", plan.reasons[0].text)
        if interaction.resource_type and interaction.resource_type not in parts.definitions.types:
            raise ProxyRefusal(404, "not-supported", "R4 has no such resource type")
        if interaction.resource_type and not parts.serves(interaction.resource_type):
            raise TypeNotServed
        # 4 guard, 5 upstream, 6 minimize
        try:
            answered = await _ANSWERS[interaction.code](parts, Asked(request, access, plan, interaction, now))
        except NothingOpened:
            await parts.audit.record(record_of_refusal(request, access, interaction, parts.clock()))
            await ticks.wait_for_tick(begun)
            raise
        seen = answered.seen
        if seen is not None:
            await check_still_open(parts, request, interaction, (seen.plan,), now)
        # 7 record
        await parts.audit.record_all(
            records_of_answer(request, access, interaction, seen, parts.clock(), parts.source_name)
        )
        # 8 answer
        if seen is not None and not seen.shown:
            await ticks.wait_for_tick(begun)
        return answered.with_headers(parts.source_header(interaction))

    async def _access(self, request: ProxyRequest, *, admitted: bool) -> Access:
        gate = self._parts.gate
        access = await (gate.still(request.token) if admitted else gate.access(request.token))
        if isinstance(access, Access):
            return access
        raise refused_token(access)


def _route(interaction: Interaction | Unsupported) -> str:
    """What logs and metrics know of the request: never a path, which names patients."""
    if isinstance(interaction, Unsupported):
        return "/fhir (unsupported)"
    return _ROUTES[interaction.code]
