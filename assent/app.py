"""The composition root: everything that a server process is made of, wired in one place.

What can't work fails here, at start-up, and not at the first request: the catalogue, the masks, the signing keys, the
database. Hot paths (`/fhir`, `/introspect`) are plain ASGI beside the FastAPI application.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.api_description import describe
from assent.asgi import App, read_only
from assent.body_limit import BodyLimit
from assent.brands import PATH as BRANDS_PATH
from assent.brands import brand_routes, load_brands
from assent.client_addresses import key_addresses
from assent.consent_wiring import consent_api
from assent.dispatch import Dispatch
from assent.doctor import examine
from assent.export_wiring import bulk_export
from assent.health import alive, ready
from assent.language_files import load_languages
from assent.metrics import Metrics
from assent.policy_files import load_catalogue
from assent.request_middleware import RequestMiddleware
from assent.secret_file import secret_for
from assent.settings import Settings
from assent.sign_in_ways import sign_in_ways
from assent.statement_issuers import load_statements
from assent.upstream_metrics import UpstreamMetrics
from assent.upstream_settings import export_upstream, upstreams
from authz.access_tokens import AccessTokens
from authz.app_state import AppStates
from authz.audit_signing import AuditSigner
from authz.client_keys import ClientKeys
from authz.context import AuthzContext, Lifetimes
from authz.cross_origin import CrossOrigin
from authz.end_session import read_ending
from authz.federation import Federation
from authz.introspection import Introspection
from authz.routes import oauth_router
from authz.sessions import Sessions
from authz.sign_in_attempts import SignInAttempts
from authz.signing_keys import SigningKeys
from authz.token_gate import TokenGate
from fhir.audit_checkpoints import AuditCheckpoints
from fhir.audit_indexing import AuditIndexing
from fhir.audit_journal import AuditJournal
from fhir.audit_trail import AuditTrail
from fhir.capability_statement import capability_statement
from fhir.change_bus import Change, ChangeBus
from fhir.consent_register import ConsentRegister, StoredConsents
from fhir.definitions import Definitions, load_definitions
from fhir.export_upstream import ExportUpstream
from fhir.facts import FactsReader
from fhir.masks import Masks
from fhir.own_types import OWN_TYPES
from fhir.page_token import PageSealer
from fhir.proxy import FhirProxy
from fhir.proxy_parts import ProxyParts
from fhir.read_plans import ReadPlans
from fhir.resource_view import ResourceViews
from fhir.sharing_patients import SharingPatients
from fhir.source import OwnSource, Source
from fhir.store import Repository
from fhir.upstreams import Upstreams
from policies.catalogue import Catalogue
from portal.app_registrations import AppRegistrations
from portal.clinician_records import SharedRecords
from portal.consent_book import PatientsConsentBook
from portal.emergency_book import StoredEmergencies
from portal.patient_record import StoredRecord
from portal.pending_requests import PendingRequests
from portal.ports import Ports
from portal.router import PortalPages, portal_pages
from portal.settings import DemoUser, PortalSettings
from portal.sign_in_ports import SignInWays
from smart.brands import Brands

SCHEMA = "assent"
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class SandboxExtras:
    """What sandbox mode adds. INVARIANT: None in every other mode."""

    demo_users: tuple[DemoUser, ...]
    routes: Callable[[AuthzContext], APIRouter]
    brands: Callable[[str], Brands]
    """By the public URL."""


@dataclass(frozen=True, slots=True)
class Assent:
    """One server process's application and what it must let go of at the end."""

    asgi: App
    site: FastAPI
    """The part of it that isn't a hot path."""
    engine: AsyncEngine
    authz: AuthzContext
    bus: ChangeBus
    audit: AuditTrail
    checkpoints: AuditCheckpoints
    upstreams: Upstreams
    exports: ExportUpstream
    attempts: SignInAttempts
    provider: Federation | None

    async def aclose(self) -> None:
        """Write what waits, then let go of connections."""
        await self.audit.close()
        await self.checkpoints.close()
        await self.bus.close()
        await self.authz.client_keys.close()
        await self.upstreams.close()
        await self.exports.close()
        await self.attempts.close()
        if self.provider is not None:
            await self.provider.close()
        await self.engine.dispose()


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything else stands on: settings, rules and storage."""

    settings: Settings
    secret: bytes
    clock: Clock
    engine: AsyncEngine
    bus: ChangeBus
    definitions: Definitions
    catalogue: Catalogue
    repository: Repository
    audit: AuditTrail


async def build(
    settings: Settings, database_url: str, *, sandbox: SandboxExtras | None = None, clock: Clock = system_clock
) -> Assent:
    """Wire the application on a migrated database."""
    ground = await _ground(settings, database_url, clock)
    context = _authz(ground)
    gate = TokenGate(context.tokens, ground.engine, ground.bus, clock)
    behind, exports = upstreams(settings, ground.definitions), export_upstream(settings)
    attempts = SignInAttempts(settings.valkey_url.get_secret_value() if settings.valkey_url else None)
    ways, federation = sign_in_ways(settings, ground.engine, clock)
    https, metrics = settings.public_url.startswith("https:"), Metrics(UpstreamMetrics(behind))
    register, facts = _register(ground), _facts(ground, behind)
    parts = _proxy_parts(ground, gate, behind, register, facts)
    proxy, secret = FhirProxy(parts), ground.secret
    served = partial(behind.together, "Patient")
    export = bulk_export(parts, exports, served, facts, ground.engine, settings, proxy, schema=SCHEMA, secret=secret)
    site = _site(ground, context, gate, _pages(ground, context, attempts, ways, sandbox, behind), sandbox)
    dispatch = Dispatch(
        exact={
            "/healthz": read_only(alive),
            "/readyz": read_only(ready(ground.engine, ground.bus)),
            "/metrics": read_only(metrics),
            "/introspect": Introspection(context, gate),
        },
        consents=consent_api(context, gate, parts, register, facts, schema=SCHEMA),
        state=AppStates(context, gate),
        fhir=export,
        site=site,
    )
    crossing = CrossOrigin(BodyLimit(dispatch, settings.max_request_body_bytes), ground.engine, ground.bus)
    ground.bus.subscribe(context.keys.on_change)
    ground.bus.subscribe(context.client_keys.on_change)
    await ground.bus.start()
    await context.keys.start()
    await context.keys.rotate_when_older_than(timedelta(days=settings.signing_key_days))
    ground.audit.start()
    checkpoints = AuditCheckpoints(
        ground.engine,
        schema=SCHEMA,
        signer=AuditSigner(context.keys, ground.secret),
        issuer=settings.public_url,
        clock=clock,
    )
    checkpoints.start()
    return Assent(
        RequestMiddleware(crossing, metrics, https=https),
        site,
        ground.engine,
        context,
        ground.bus,
        ground.audit,
        checkpoints,
        behind,
        exports,
        attempts,
        federation,
    )


async def _ground(settings: Settings, database_url: str, clock: Clock) -> _Ground:
    # A database error quotes the values of its statement; these may be data of patients.
    engine = create_async_engine(database_url, pool_size=settings.database_connections, hide_parameters=True)
    try:
        secret = await secret_for(settings, engine)
    except BaseException:
        await engine.dispose()
        raise
    definitions = load_definitions()
    repository = Repository(
        engine, definitions, schema=SCHEMA, clock=clock, cursor_key=_derived(secret, b"search cursors")
    )
    journal = AuditJournal(engine, schema=SCHEMA)
    return _Ground(
        settings=settings,
        secret=secret,
        clock=clock,
        engine=engine,
        bus=ChangeBus(database_url),
        definitions=definitions,
        catalogue=load_catalogue(settings.policy_dir),
        repository=repository,
        audit=AuditTrail(journal, AuditIndexing(journal, repository)),
    )


def _authz(ground: _Ground) -> AuthzContext:
    """The authorization server's own."""
    settings = ground.settings
    keys = SigningKeys(ground.engine, ground.secret, ground.clock)
    audience = f"{settings.public_url}/fhir"
    return AuthzContext(
        issuer=settings.public_url,
        engine=ground.engine,
        clock=ground.clock,
        keys=keys,
        tokens=AccessTokens(keys, issuer=settings.public_url, audience=audience, clock=ground.clock),
        repository=ground.repository,
        catalogue=ground.catalogue,
        audit=ground.audit,
        client_keys=ClientKeys(key_addresses(settings)),
        lifetimes=_lifetimes(settings),
        open_registration=settings.open_registration,
        statements=load_statements(settings),
        client_certificates=settings.client_certificate_header is not None,
        writes=settings.upstream_writes,
        tell=ground.bus.tell,
    )


def _register(ground: _Ground) -> ConsentRegister:
    """The cache of consents, kept true by the bus."""
    register = ConsentRegister(StoredConsents(ground.repository), ground.bus)

    def on_change(change: Change) -> None:
        if change.kind == "consent":
            register.forget(change.key)
        elif change.kind == "all":
            register.forget_all()

    ground.bus.subscribe(on_change)
    return register


def _facts(ground: _Ground, behind: Upstreams) -> FactsReader:
    return FactsReader(ground.definitions, ground.catalogue, upstream_bases=behind.bases)


def _proxy_parts(
    ground: _Ground, gate: TokenGate, behind: Upstreams, register: ConsentRegister, facts: FactsReader
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


def _pages(
    ground: _Ground,
    context: AuthzContext,
    attempts: SignInAttempts,
    ways: SignInWays,
    sandbox: SandboxExtras | None,
    behind: Upstreams,
) -> PortalPages:
    """Pages for people."""
    settings = ground.settings
    sessions = Sessions(
        ground.engine,
        ground.clock,
        idle=timedelta(seconds=settings.session_idle_seconds),
        absolute=timedelta(seconds=settings.session_seconds),
        attempts=attempts,
    )
    requests = PendingRequests(context)
    consents = PatientsConsentBook(context, requests)
    return portal_pages(
        Ports(
            sessions,
            requests,
            consents,
            StoredRecord(context, consents),
            SharedRecords(context, requests),
            AppRegistrations(context),
            lambda parameters: read_ending(context, parameters),
            lambda: examine(settings, ground.clock, behind),
            load_languages(ground.catalogue, settings.policy_dir),
            StoredEmergencies(context, requests),
            ways,
        ),
        PortalSettings(
            https=settings.public_url.startswith("https:"),
            fresh_sign_in=timedelta(seconds=settings.decision_sign_in_seconds),
            sandbox_hint=sandbox.demo_users if sandbox else (),
        ),
        ground.clock,
    )


def _site(
    ground: _Ground, context: AuthzContext, gate: TokenGate, pages: PortalPages, sandbox: SandboxExtras | None
) -> FastAPI:
    """Everything that isn't a hot path."""
    site = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    brands = load_brands(ground.settings) or (sandbox.brands(context.issuer) if sandbox is not None else None)
    announced = {} if brands is None else brands.announced(f"{context.issuer}{BRANDS_PATH}")
    site.include_router(oauth_router(context, gate, pages.authorize_error, announced))
    site.include_router(pages.router)
    if brands is not None:
        site.include_router(brand_routes(brands))
    if sandbox is not None:
        site.include_router(sandbox.routes(context))
    describe(site, pages, writes=ground.settings.upstream_writes)
    return site


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        request=timedelta(seconds=settings.authorization_request_seconds),
        code=timedelta(seconds=settings.authorization_code_seconds),
        access_token=timedelta(seconds=settings.access_token_seconds),
        refresh_token=timedelta(days=settings.refresh_token_days),
        sign_in=timedelta(seconds=settings.decision_sign_in_seconds),
        emergency=timedelta(seconds=settings.emergency_access_seconds) if settings.emergency_access else None,
    )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"assent " + purpose).derive(secret)
