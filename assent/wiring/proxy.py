"""The enforcement point, put together by the composition root."""

from __future__ import annotations

from datetime import timedelta

from assent.migrate import SCHEMA
from assent.settings import Settings
from assent.settings_lists import by_type
from assent.wiring.ground import Clock, Ground
from authz.tokens.gate import TokenGate
from fhir.consents.directory import Directory
from fhir.consents.directory_lookup import DirectoryLookup
from fhir.consents.register import ConsentRegister, StoredConsents
from fhir.consents.sharing_patients import SharingPatients
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.proxy.capability_statement import capability_statement
from fhir.proxy.medications import Medications
from fhir.proxy.origins import Origins
from fhir.proxy.page_memo import PageMemo
from fhir.proxy.page_token import PageSealer
from fhir.proxy.parts import ProxyParts
from fhir.proxy.read_plans import ReadPlans
from fhir.proxy.resource_view import ResourceViews
from fhir.r4.own_types import OWN_TYPES
from fhir.store.change_bus import Change
from fhir.upstream.source import OwnSource, Source
from fhir.upstream.upstreams import Upstreams


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


def directory_of(settings: Settings, clock: Clock, behind: Upstreams) -> Directory:
    """Who belongs to whom, as the upstreams say."""
    lookup = DirectoryLookup(behind.source, behind.bases)
    return Directory(lookup, clock, timedelta(seconds=settings.directory_seconds))


def facts_reader(ground: Ground, behind: Upstreams) -> FactsReader:
    return FactsReader(ground.definitions, ground.catalogue, upstream_bases=behind.bases)


def proxy_parts(
    ground: Ground,
    gate: TokenGate,
    behind: Upstreams,
    register: ConsentRegister,
    facts: FactsReader,
    *,
    directory: Directory,
    registration: bool,
) -> ProxyParts:
    """What the enforcement point is made of; `registration`: whether apps may register themselves."""
    settings, catalogue, definitions = ground.settings, ground.catalogue, ground.definitions
    own = OwnSource(ground.repository, ground.audit.settle)

    def source_of(resource_type: str) -> Source:
        return own if resource_type in OWN_TYPES else behind.source(resource_type)

    def serves(resource_type: str) -> bool:
        return resource_type in OWN_TYPES or behind.serves(resource_type)

    masks, medications = Masks(catalogue, definitions), Medications(source_of, facts)
    today = ground.clock().date().isoformat()
    views = ResourceViews(catalogue, definitions, masks, facts, medications)
    return ProxyParts(
        base=f"{settings.public_url}/fhir",
        gate=gate,
        plans=ReadPlans(register, SharingPatients(ground.engine, schema=SCHEMA), catalogue, directory),
        catalogue=catalogue,
        definitions=definitions,
        masks=masks,
        medications=medications,
        views=views,
        page_memo=PageMemo(views.is_told_by_content),
        source_of=source_of,
        serves=serves,
        origins=Origins(views.facts, views.relative, source_of, serves, medications.learn),
        audit=ground.audit,
        sealer=PageSealer(ground.secret),
        capability_statement=capability_statement(
            settings.public_url,
            catalogue,
            definitions,
            today,
            serves,
            lambda one, other: source_of(one) is source_of(other),
            registration=registration,
            writes=settings.upstream_writes,
            instantiates=settings.instantiates,
            profiles=by_type(settings.supported_profiles),
        ),
        max_search_count=settings.max_search_count,
        clock=ground.clock,
        writes=behind if settings.upstream_writes else None,
    )
