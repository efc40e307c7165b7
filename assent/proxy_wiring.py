"""The enforcement point, put together by the composition root."""

from __future__ import annotations

from assent.ground import Ground
from assent.migrate import SCHEMA
from authz.token_gate import TokenGate
from fhir.capability_statement import capability_statement
from fhir.change_bus import Change
from fhir.consent_register import ConsentRegister, StoredConsents
from fhir.facts import FactsReader
from fhir.masks import Masks
from fhir.own_types import OWN_TYPES
from fhir.page_token import PageSealer
from fhir.proxy_parts import ProxyParts
from fhir.read_plans import ReadPlans
from fhir.resource_view import ResourceViews
from fhir.sharing_patients import SharingPatients
from fhir.source import OwnSource, Source
from fhir.upstreams import Upstreams


def consent_register(ground: Ground) -> ConsentRegister:
    """The cache of consents, kept true by the bus."""
    register = ConsentRegister(StoredConsents(ground.repository), ground.bus)

    def on_change(change: Change) -> None:
        if change.kind == "consent":
            register.forget(change.key)
        elif change.kind == "all":
            register.forget_all()

    ground.bus.subscribe(on_change)
    return register


def facts_reader(ground: Ground, behind: Upstreams) -> FactsReader:
    return FactsReader(ground.definitions, ground.catalogue, upstream_bases=behind.bases)


def proxy_parts(
    ground: Ground, gate: TokenGate, behind: Upstreams, register: ConsentRegister, facts: FactsReader
) -> ProxyParts:
    """What the enforcement point is made of."""
    settings, catalogue, definitions = ground.settings, ground.catalogue, ground.definitions
    own = OwnSource(ground.repository, ground.audit.settle)

    def source_of(resource_type: str) -> Source:
        return own if resource_type in OWN_TYPES else behind.source(resource_type)

    def serves(resource_type: str) -> bool:
        return resource_type in OWN_TYPES or behind.serves(resource_type)

    masks = Masks(catalogue, definitions)
    today = ground.clock().date().isoformat()
    return ProxyParts(
        base=f"{settings.public_url}/fhir",
        gate=gate,
        plans=ReadPlans(register, SharingPatients(ground.engine, schema=SCHEMA), catalogue),
        catalogue=catalogue,
        definitions=definitions,
        masks=masks,
        views=ResourceViews(catalogue, definitions, masks, facts),
        source_of=source_of,
        serves=serves,
        audit=ground.audit,
        sealer=PageSealer(ground.secret),
        capability_statement=capability_statement(
            settings.public_url, catalogue, definitions, today, serves, writes=settings.upstream_writes
        ),
        max_search_count=settings.max_search_count,
        clock=ground.clock,
        writes=behind if settings.upstream_writes else None,
    )
