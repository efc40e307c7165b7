"""What the enforcement point works with, and what its steps hand to each other (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from fhir.audit.trail import AuditTrail
from fhir.minimization.masks import Masks
from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.access_records import Seen
from fhir.proxy.had_alone import is_had_alone, page_had_alone
from fhir.proxy.medications import Medications
from fhir.proxy.origins import PROVENANCE, Origin, Origins, OriginsByContent
from fhir.proxy.page_memo import PageMemo
from fhir.proxy.page_token import PageSealer
from fhir.proxy.presented_token import PresentedToken
from fhir.proxy.read_plans import ReadPlans
from fhir.proxy.request import ProxyRefusal, ProxyRequest
from fhir.proxy.resource_view import ResourceViews
from fhir.proxy.responses import Headers
from fhir.proxy.search_guarding import guard_search
from fhir.proxy.search_request import SearchRequest
from fhir.proxy.shown import Show
from fhir.proxy.upstream_page import GetPage, UpstreamPage
from fhir.r4.definitions import Definitions
from fhir.r4.interaction import Interaction
from fhir.r4.own_types import OWN_TYPES
from fhir.upstream.source import Source, read_if_given
from fhir.upstream.upstreams import TypeNotServed, Upstreams
from policies.catalogue import Catalogue
from policies.decide import ReadPlan
from policies.model import Access


class TokenRefusal(Protocol):
    """Why a token opens nothing (RFC 6750 §3.1)."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def description(self) -> str:
        """For the integrator."""

    def challenge(self, realm: str) -> str:
        """The WWW-Authenticate header."""


class TokenGate(Protocol):
    """Step 1: verifies a token, live."""

    async def access(self, presented: PresentedToken) -> Access | TokenRefusal:
        """What the token claims, or why it counts for nothing."""

    async def still(self, presented: PresentedToken) -> Access | TokenRefusal:
        """The same of a token that `access` has let through for this request: whether it is live still."""

    async def goes_on(self, access: Access) -> bool:
        """Whether an answer that began with this token may go on: it may be over by now, but isn't taken back."""


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
    medications: Medications
    views: ResourceViews
    page_memo: PageMemo
    source_of: Callable[[str], Source]
    """The source of a resource type. Raises TypeNotServed."""
    serves: Callable[[str], bool]
    """Whether a resource type has a source."""
    origins: Origins
    audit: AuditTrail
    sealer: PageSealer
    capability_statement: bytes
    max_search_count: int
    clock: Callable[[], datetime]
    writes: Upstreams | None = None
    """Where writes go, each to its type's; None where apps may not write."""

    async def read(
        self, resource_type: str, resource_id: str, version: str, patient: str | None = None
    ) -> bytes | None:
        """As `Source.read`, of the type's source; what must be known to decide on it is known then.

        `patient`: the only one whose data can be shown; for what is another's nothing more is asked, which takes time.
        """
        body = await read_if_given(self.source_of(resource_type), resource_type, resource_id, version)
        if body is not None and resource_type not in OWN_TYPES and self._may_be_of(body, patient):
            await self.medications.learn(body)
        return body

    def _may_be_of(self, body: bytes, patient: str | None) -> bool:
        try:
            owners = self.views.facts(body).owners
        except NotMinimizable:
            return False
        return patient is None or not owners or patient in owners

    def source_name(self, resource_type: str) -> str:
        """The operator's name for the source of a type."""
        return self.source_of(resource_type).place.name

    def source_header(self, interaction: Interaction) -> Headers:
        """Where an answer of one type came from; of several types, each resource's own type says it.

        INVARIANT: it follows from the type asked for and the settings, and from nothing that was found (docs/leaks.md).
        """
        if not interaction.resource_type or interaction.code == "operation":
            return ()
        return ((b"x-assent-source", self.source_name(interaction.resource_type).encode()),)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has passed steps 1 to 3."""

    request: ProxyRequest
    access: Access
    plan: ReadPlan
    interaction: Interaction
    now: datetime

    @property
    def name(self) -> str:
        """`Type/id` of the resource that is asked for."""
        return f"{self.interaction.resource_type}/{self.interaction.id}"


@dataclass(frozen=True, slots=True)
class Answered:
    """What is answered, and what of anybody's data stands in it (None for nothing)."""

    body: bytes
    seen: Seen | None
    content_type: bytes = b""
    """Empty for FHIR JSON."""
    headers: Headers = ()
    status: int = 200

    def with_headers(self, more: Headers) -> Answered:
        """The same, with more headers."""
        return Answered(self.body, self.seen, self.content_type, (*self.headers, *more), self.status)


class NothingOpened(ProxyRefusal):
    """One answer for what is withheld, another patient's, deleted or not there (docs/leaks.md L06)."""

    def __init__(self) -> None:
        super().__init__(404, "not-found", "there is no such resource that this token opens")


class Pages:
    """Pages of one type's source; what must be known to decide on what stands on one is known once it is fetched."""

    def __init__(self, parts: ProxyParts, resource_type: str) -> None:
        self._page = parts.source_of(resource_type).page
        self._source_of = parts.source_of
        self._learn = None if resource_type in OWN_TYPES else parts.medications.learn
        self._find = parts.origins
        self._memo = parts.page_memo
        self._origins: dict[bytes, Origin] = {}
        self.origins: OriginsByContent = self._origins

    def decided_by(self, show: Show, bundle_type: str = "searchset", *, unmarked: str = "match") -> GetPage:
        """Pages as they are fetched. `unmarked`: as of UpstreamPage."""

        async def page(url: str) -> UpstreamPage:
            if is_had_alone(url):
                return await self._had_alone(url, show, bundle_type)
            body = await self._page(url)
            await self._learn_of(body)
            return UpstreamPage(body, show, bundle_type, unmarked=unmarked)

        return page

    def remembered(self, show: Show, plan: ReadPlan, elements: frozenset[str] | None) -> GetPage:
        """Pages of a search without includes: what was shown of the same bytes under the same plan is shown again."""

        async def page(url: str) -> UpstreamPage:
            if is_had_alone(url):
                return await self._had_alone(url, show)
            body = await self._page(url)
            known = self._memo.find(plan, url, elements, body)
            if known is None:
                await self._learn_of(body)
                known = UpstreamPage(body, show)
                self._memo.keep(plan, url, elements, body, known)
            return known

        return page

    async def _learn_of(self, body: bytes) -> None:
        if self._learn is not None:
            await self._learn(body)
        self._origins |= await self._find.on_page(body)

    async def _had_alone(self, url: str, show: Show, bundle_type: str = "searchset") -> UpstreamPage:
        return UpstreamPage(await page_had_alone(url, self._page, partial(self._read, show)), show, bundle_type)

    async def _read(self, show: Show, resource_type: str, resource_id: str, version: str) -> bytes | None:
        """As `ReadAlone`: what is withheld is dropped at once, and not held beside the others."""
        try:
            body = await read_if_given(self._source_of(resource_type), resource_type, resource_id, version)
            if body is None:
                return None
            if self._learn is not None:
                await self._learn(body)
            if resource_type == PROVENANCE:
                self._origins |= await self._find.of([body])
            return None if show(body) is None else body
        except (TypeNotServed, NotMinimizable):
            return None


def guarded_search(
    parts: ProxyParts, kind: str, parameters: tuple[tuple[str, str], ...], plan: ReadPlan
) -> SearchRequest:
    """Step 4. Raises SearchRefused and SearchError."""
    return guard_search(
        kind, parameters, plan, parts.masks, parts.definitions, base=parts.base, max_count=parts.max_search_count
    )
