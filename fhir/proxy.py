"""The enforcement point: plain ASGI under `/fhir`. What an app may see of what the upstream answers, and no more.

The eight steps of docs/architecture.md, "A request, end to end", stand in `FhirProxy._answer` in their order. Deny is
the default at each; no body leaves before its audit record is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from fhir.access_records import Seen, record_of_refusal, records_of_answer
from fhir.audit_trail import AuditTrail
from fhir.definitions import Definitions
from fhir.interaction import Interaction, Unsupported, interaction_of
from fhir.masks import Masks
from fhir.minimize import NotMinimizable
from fhir.narrowing import upstream_search
from fhir.page_token import PagePayload, PageSealer
from fhir.proxy_request import ProxyRefusal, ProxyRequest, read_request
from fhir.read_plans import ReadPlans
from fhir.refusals import refusal_of
from fhir.resource_view import ResourceViews
from fhir.responses import Receive, Scope, Send, send_fhir, send_outcome
from fhir.search_request import SearchRequest, read_search
from fhir.searchset import Page, fill_page, searchset
from fhir.source import Source
from policies.catalogue import Catalogue
from policies.decide import ReadPlan
from policies.model import Access, Deny
from policies.scope_match import names_type

_PAGE = "_page"
"""Parameter of a page link, the only one on it."""
_ROUTES = {
    "capabilities": "/fhir/metadata",
    "read": "/fhir/{type}/{id}",
    "vread": "/fhir/{type}/{id}/_history/{version}",
    "search-type": "/fhir/{type}",
}


class TokenRefusal(Protocol):
    """Why a token opens nothing (RFC 6750 §3.1)."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def error(self) -> str:
        """RFC 6750 error code; empty when no token was sent."""

    @property
    def description(self) -> str:
        """For the integrator."""


class TokenGate(Protocol):
    """Step 1: verifies a bearer token, live."""

    async def access(self, authorization: str | None) -> Access | TokenRefusal:
        """What the token claims, or why it counts for nothing."""


@dataclass(frozen=True, slots=True)
class ProxyParts:
    """What the composition root hands in."""

    base: str
    """Public FHIR base without a trailing slash."""
    gate: TokenGate
    plans: ReadPlans
    catalogue: Catalogue
    definitions: Definitions
    masks: Masks
    views: ResourceViews
    source_of: Callable[[str], Source]
    """The source of a resource type."""
    audit: AuditTrail
    sealer: PageSealer
    capability_statement: bytes
    max_search_count: int
    clock: Callable[[], datetime]


class FhirProxy:
    """ASGI application for everything under the FHIR base."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request below the FHIR base (`scope["path"]` still holds the whole path)."""
        try:
            request = await read_request(scope, receive)
            status, body = await self._answer(request)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            await send_outcome(send, refusal.status, refusal.code, refusal.text, headers=refusal.headers)
            return
        await send_fhir(send, status, b"" if request.method == "HEAD" else body)

    async def _answer(self, request: ProxyRequest) -> tuple[int, bytes]:
        parts = self._parts
        interaction = interaction_of(request.method, request.path)
        request.log["route"] = _route(interaction)
        if isinstance(interaction, Unsupported):
            allow = ((b"allow", ", ".join(interaction.allow).encode()),) if interaction.allow else ()
            raise ProxyRefusal(interaction.status, interaction.code, interaction.text, headers=allow)
        if interaction.code == "capabilities":
            return 200, parts.capability_statement
        # 1 token
        access = await self._access(request)
        request.log["client_id"] = access.client_id
        # 2 consent, 3 decide; a service's plan is completed by the patients whom it comes upon
        now = parts.clock()
        plan = await parts.plans.begin(access, interaction, now)
        if isinstance(plan, Deny):
            await parts.audit.record(record_of_refusal(request, access, interaction, now))
            raise ProxyRefusal(403, "forbidden", plan.reasons[0].text)
        if interaction.resource_type not in parts.definitions.types:
            raise ProxyRefusal(404, "not-supported", "R4 has no such resource type")
        # 4 guard, 5 upstream, 6 minimize
        if interaction.code == "search-type":
            body, seen = await self._search(request, access, plan, interaction)
        else:
            body, seen = await self._read(request, access, plan, interaction)
        # 7 record
        records = records_of_answer(request, access, interaction, seen, parts.clock())
        await parts.audit.record_all(records)
        # 8 answer
        return 200, body

    async def _access(self, request: ProxyRequest) -> Access:
        access = await self._parts.gate.access(request.authorization)
        if isinstance(access, Access):
            return access
        challenge = f'Bearer realm="fhir", error="{access.error}"' if access.error else 'Bearer realm="fhir"'
        raise ProxyRefusal(
            access.status, "login", access.description, headers=((b"www-authenticate", challenge.encode()),)
        )

    async def _read(
        self, request: ProxyRequest, access: Access, plan: ReadPlan, interaction: Interaction
    ) -> tuple[bytes, Seen]:
        elements = self._read_elements(request, interaction.resource_type, plan)
        seen = await self._seen(plan, interaction, interaction.version, elements)
        if seen is not None and interaction.version and await self._seen(plan, interaction, "", elements) is None:
            seen = None  # withheld or deleted by now: no older version tells of it (docs/leaks.md L40)
        if seen is None:
            # One answer for what is withheld, another patient's, deleted or not there (docs/leaks.md L06).
            await self._parts.audit.record(record_of_refusal(request, access, interaction, self._parts.clock()))
            raise ProxyRefusal(404, "not-found", "there is no such resource that this token opens")
        return seen.shown[0].body, seen

    async def _seen(
        self, plan: ReadPlan, interaction: Interaction, version: str, elements: frozenset[str] | None
    ) -> Seen | None:
        """What may be seen of one resource; None when that is nothing, or when the source gave another one."""
        parts, kind = self._parts, interaction.resource_type
        body = await parts.source_of(kind).read(kind, interaction.id, version)
        if body is None:
            return None
        try:
            if plan.patient is None:
                plan = await parts.plans.for_resource(plan, parts.views.facts(body), parts.clock())
            shown = parts.views.under(plan, {kind: elements})(body)
        except NotMinimizable:
            return None
        return Seen(plan, (shown,)) if shown is not None and shown.name == f"{kind}/{interaction.id}" else None

    def _read_elements(self, request: ProxyRequest, kind: str, plan: ReadPlan) -> frozenset[str] | None:
        """`_elements`, `_summary` and `_format` are all that a read may carry."""
        if not request.parameters:
            return None
        if any(name not in ("_elements", "_summary", "_format") for name, _ in request.parameters):
            raise ProxyRefusal(400, "not-supported", "a read takes `_elements`, `_summary` and `_format` only")
        return self._search_request(kind, request, plan).elements

    def _search_request(self, kind: str, request: ProxyRequest, plan: ReadPlan) -> SearchRequest:
        parts = self._parts
        return read_search(
            kind,
            request.parameters,
            parts.definitions,
            lambda resource_type, path: parts.masks.visible(plan.purpose, resource_type, path),
            lambda resource_type: (
                any(names_type(s, resource_type) for s in plan.scopes)
                and parts.masks.node(plan.purpose, resource_type) is not None
            ),
            max_count=parts.max_search_count,
        )

    async def _search(
        self, request: ProxyRequest, access: Access, plan: ReadPlan, interaction: Interaction
    ) -> tuple[bytes, Seen]:
        parts, kind = self._parts, interaction.resource_type
        now = parts.clock()
        binding = f"{access.client_id} {access.grant_id} {plan.patient} {kind}"
        token = next((value for name, value in request.parameters if name == _PAGE), None)
        if token is None:
            search = self._search_request(kind, request, plan)
            plan = await parts.plans.for_search(plan, search, now)
            first, position = upstream_search(search, plan, parts.catalogue, parts.definitions), 0
        else:
            payload = parts.sealer.open(token, binding=binding, now=now)
            if payload is None or payload.resource_type != kind or len(request.parameters) != 1:
                raise ProxyRefusal(410, "expired", "the page link is not valid any more, search again")
            # The guard decides again, by the consent and the masks of this moment (docs/leaks.md L21).
            search = self._search_request(kind, request.with_parameters(payload.query), plan)
            plan = await parts.plans.for_search(plan, search, now)
            first, position = payload.upstream_url, payload.position
        show = parts.views.under(plan, {kind: search.elements}, search.includes)
        page, fetch = Page(), parts.source_of(kind).page
        if plan.shares:
            page = await fill_page(kind, search.count, first, position, fetch, show, including=bool(search.includes))
        # Honest only when all was seen from the first entry to the last (docs/leaks.md L04); a service gets none.
        whole = token is None and page.next_url is None and plan.patient is not None
        body = self._render(kind, search, page, binding, token, now, len(page.matches) if whole else None)
        return body, Seen(plan, (*page.matches, *page.includes))

    def _render(
        self,
        kind: str,
        search: SearchRequest,
        page: Page,
        binding: str,
        token: str | None,
        now: datetime,
        total: int | None,
    ) -> bytes:
        base = self._parts.base
        if token is None:
            links = [("self", f"{base}/{kind}?{urlencode(search.echo)}" if search.echo else f"{base}/{kind}")]
        else:
            links = [("self", f"{base}/{kind}?{urlencode({_PAGE: token})}")]
        if page.next_url is not None:
            payload = PagePayload(page.next_url, kind, search.echo, page.next_position, now)
            sealed = self._parts.sealer.seal(payload, binding=binding)
            links.append(("next", f"{base}/{kind}?{urlencode({_PAGE: sealed})}"))
        return searchset(page, base, links, total)


def _route(interaction: Interaction | Unsupported) -> str:
    """What logs and metrics know of the request: never a path, which names patients."""
    if isinstance(interaction, Unsupported):
        return "/fhir (unsupported)"
    return _ROUTES[interaction.code]
