"""The composition root: everything that a server process is made of, wired in one place.

What can't work fails here, at start-up, and not at the first request: the catalogue, the masks, the signing keys, the
database. Hot paths (`/fhir`, `/introspect`) are plain ASGI beside the FastAPI application.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.api_description import describe
from assent.asgi import App
from assent.body_limit import BodyLimit
from assent.dispatch import Dispatch
from assent.health import alive, ready
from assent.metrics import Metrics
from assent.policy_files import load_catalogue, load_policy_text
from assent.request_middleware import RequestMiddleware
from assent.secret_file import read_secret
from assent.settings import Settings
from assent.upstream_settings import upstream_client
from authz.access_tokens import AccessTokens
from authz.context import AuthzContext, Lifetimes
from authz.cross_origin import CrossOrigin
from authz.introspection import Introspection
from authz.routes import oauth_router
from authz.sessions import Sessions
from authz.sign_in_attempts import SignInAttempts
from authz.signing_keys import SigningKeys
from authz.token_gate import TokenGate
from fhir.audit_indexing import AuditIndexing
from fhir.audit_journal import AuditJournal
from fhir.audit_trail import AuditTrail
from fhir.capability_statement import capability_statement
from fhir.change_bus import Change, ChangeBus
from fhir.consent_register import ConsentRegister, StoredConsents
from fhir.definitions import load_definitions
from fhir.facts import FactsReader
from fhir.masks import Masks
from fhir.own_types import OWN_TYPES
from fhir.page_token import PageSealer
from fhir.proxy import FhirProxy, ProxyParts
from fhir.resource_view import ResourceViews
from fhir.source import OwnSource, Source, UpstreamSource
from fhir.store import Repository
from fhir.upstream_client import UpstreamClient
from portal.clinician_records import SharedRecords
from portal.consent_book import PatientsConsentBook
from portal.pending_requests import PendingRequests
from portal.ports import Ports
from portal.router import PortalPages, portal_pages
from portal.settings import DemoUser, PortalSettings

SCHEMA = "assent"
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class SandboxExtras:
    """What sandbox mode adds. INVARIANT: None in every other mode."""

    demo_users: tuple[DemoUser, ...]
    routes: Callable[[AuthzContext], APIRouter]


@dataclass(frozen=True, slots=True)
class Assent:
    """One server process's application and what it must let go of at the end."""

    asgi: App
    engine: AsyncEngine
    authz: AuthzContext
    bus: ChangeBus
    audit: AuditTrail
    upstream: UpstreamClient
    attempts: SignInAttempts

    async def aclose(self) -> None:
        """Write what waits, then let go of connections."""
        await self.audit.close()
        await self.bus.close()
        await self.upstream.close()
        await self.attempts.close()
        await self.engine.dispose()


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


async def build(
    settings: Settings, database_url: str, *, sandbox: SandboxExtras | None = None, clock: Clock = system_clock
) -> Assent:
    """Wire the application on a migrated database."""
    # A database error quotes the values of its statement; these may be data of patients.
    engine = create_async_engine(database_url, pool_size=settings.database_connections, hide_parameters=True)
    secret = read_secret(settings)
    definitions = load_definitions()
    catalogue = load_catalogue(settings.policy_dir)
    policy_text = load_policy_text(catalogue, settings.policy_dir)
    masks = Masks(catalogue, definitions)

    repository = Repository(
        engine, definitions, schema=SCHEMA, clock=clock, cursor_key=_derived(secret, b"search cursors")
    )
    bus = ChangeBus(database_url)
    journal = AuditJournal(engine, schema=SCHEMA)
    audit = AuditTrail(journal, AuditIndexing(journal, repository))
    keys = SigningKeys(engine, secret, clock)
    tokens = AccessTokens(keys, issuer=settings.public_url, audience=f"{settings.public_url}/fhir", clock=clock)
    context = AuthzContext(
        issuer=settings.public_url,
        engine=engine,
        clock=clock,
        keys=keys,
        tokens=tokens,
        repository=repository,
        catalogue=catalogue,
        audit=audit,
        lifetimes=_lifetimes(settings),
        open_registration=settings.open_registration,
        tell=bus.tell,
    )
    gate = TokenGate(tokens, engine, bus, clock)
    register = ConsentRegister(StoredConsents(repository), bus)
    client = upstream_client(settings)
    own, upstream = OwnSource(repository, audit.settle), UpstreamSource(client)

    def source_of(resource_type: str) -> Source:
        return own if resource_type in OWN_TYPES else upstream

    facts = FactsReader(definitions, catalogue, upstream_base=settings.upstream_url or "")
    proxy = FhirProxy(
        ProxyParts(
            base=context.fhir_base,
            gate=gate,
            register=register,
            catalogue=catalogue,
            definitions=definitions,
            masks=masks,
            views=ResourceViews(catalogue, definitions, masks, facts),
            source_of=source_of,
            audit=audit,
            sealer=PageSealer(secret),
            capability_statement=capability_statement(
                settings.public_url, catalogue, definitions, clock().date().isoformat()
            ),
            max_search_count=settings.max_search_count,
            clock=clock,
        )
    )

    def on_change(change: Change) -> None:
        if change.kind == "consent":
            register.forget(change.key)
        elif change.kind == "all":
            register.forget_all()

    bus.subscribe(on_change)
    bus.subscribe(keys.on_change)
    requests = PendingRequests(context)
    attempts = SignInAttempts(settings.valkey_url.get_secret_value() if settings.valkey_url else None)
    sessions = Sessions(
        engine,
        clock,
        idle=timedelta(seconds=settings.session_idle_seconds),
        absolute=timedelta(seconds=settings.session_seconds),
        attempts=attempts,
    )
    pages = portal_pages(
        Ports(
            sessions,
            requests,
            PatientsConsentBook(context, requests, policy_text),
            SharedRecords(context, requests),
            catalogue,
            policy_text,
        ),
        PortalSettings(
            https=settings.public_url.startswith("https:"), sandbox_hint=sandbox.demo_users if sandbox else ()
        ),
        clock,
    )
    metrics = Metrics()
    site = _site(context, gate, pages, sandbox)
    dispatch = Dispatch(
        exact={
            "/healthz": alive,
            "/readyz": ready(engine, bus),
            "/metrics": metrics,
            "/introspect": Introspection(context, gate),
        },
        fhir=proxy,
        site=site,
    )
    crossing = CrossOrigin(BodyLimit(dispatch, settings.max_request_body_bytes), engine, bus)
    await bus.start()
    await keys.start()
    await keys.rotate_when_older_than(timedelta(days=settings.signing_key_days))
    audit.start()
    return Assent(
        RequestMiddleware(crossing, metrics, https=settings.public_url.startswith("https:")),
        engine,
        context,
        bus,
        audit,
        client,
        attempts,
    )


def _site(context: AuthzContext, gate: TokenGate, pages: PortalPages, sandbox: SandboxExtras | None) -> FastAPI:
    """Everything that isn't a hot path."""
    site = FastAPI(title="Assent", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    site.include_router(oauth_router(context, gate, pages.authorize_error))
    site.include_router(pages.router)
    if sandbox is not None:
        site.include_router(sandbox.routes(context))
    describe(site, pages)
    return site


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        request=timedelta(seconds=settings.authorization_request_seconds),
        code=timedelta(seconds=settings.authorization_code_seconds),
        access_token=timedelta(seconds=settings.access_token_seconds),
        refresh_token=timedelta(days=settings.refresh_token_days),
    )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"assent " + purpose).derive(secret)
