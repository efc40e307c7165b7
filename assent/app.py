"""The composition root: everything that a server process is made of, wired from here.

What can't work fails here, at start-up, and not at the first request: the catalogue, the masks, the signing keys, the
database. Hot paths (`/fhir`, `/introspect`, `/token`) are plain ASGI beside the FastAPI application.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.asgi import App, read_only
from assent.body_limit import BodyLimit
from assent.client_addresses import key_addresses
from assent.dispatch import Dispatch
from assent.health import alive, ready
from assent.mail.metrics import MailMetrics
from assent.mail.worker import MailWorker
from assent.metrics import Metrics
from assent.migrate import SCHEMA
from assent.request_middleware import RequestMiddleware
from assent.settings import Settings
from assent.sign_in_ways import sign_in_ways
from assent.statement_issuers import load_statements
from assent.upstream_metrics import UpstreamMetrics
from assent.upstream_settings import export_upstream, upstreams
from assent.wiring.consents import consent_api, explainer_of
from assent.wiring.export import bulk_export
from assent.wiring.ground import Clock, Ground, lay_ground, system_clock
from assent.wiring.mail import Mail, mail_of
from assent.wiring.proxy import consent_register, directory_of, facts_reader, proxy_parts
from assent.wiring.site import SandboxExtras, portal_of, site_of
from authz.app_state.app import AppStates
from authz.audit_signing import AuditSigner
from authz.clients.keys import ClientKeys
from authz.clients.known_clients import KnownClients
from authz.context import AuthzContext, Lifetimes
from authz.cross_origin import CrossOrigin
from authz.sign_in.attempts import SignInAttempts
from authz.sign_in.federation import Federation
from authz.tokens.access_tokens import AccessTokens
from authz.tokens.endpoint import TokenEndpoint
from authz.tokens.gate import TokenGate
from authz.tokens.introspection import Introspection
from authz.tokens.open_grants import OpenGrants
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.checkpoints import AuditCheckpoints
from fhir.audit.trail import AuditTrail
from fhir.consents.directory import Directory
from fhir.consents.register import ConsentRegister
from fhir.export.upstream import ExportUpstream
from fhir.proxy.app import FhirProxy
from fhir.store.change_bus import ChangeBus
from fhir.upstream.upstreams import Upstreams
from portal.explain_book import StoredExplanations


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
    mail: MailWorker | None

    async def aclose(self) -> None:
        """Write what waits, then let go of connections."""
        if self.mail is not None:
            await self.mail.close()
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


async def build(
    settings: Settings, database_url: str, *, sandbox: SandboxExtras | None = None, clock: Clock = system_clock
) -> Assent:
    """Wire the application on a migrated database."""
    ground = await lay_ground(settings, database_url, clock)
    register = consent_register(ground)
    mail = mail_of(ground, sandbox)
    behind, exports = upstreams(settings, ground.definitions), export_upstream(settings)
    directory = directory_of(settings, clock, behind)
    context = _authz(ground, register, mail, directory)
    gate = TokenGate(context.tokens, ground.engine, ground.bus, clock)
    attempts = SignInAttempts(settings.valkey_url.get_secret_value() if settings.valkey_url else None)
    ways, federation = sign_in_ways(settings, ground.engine, clock, context.notices)
    https, metrics = settings.public_url.startswith("https:"), Metrics(UpstreamMetrics(behind))
    facts = facts_reader(ground, behind)
    register_apps = context.registers_apps
    parts = proxy_parts(ground, gate, behind, register, facts, directory=directory, registration=register_apps)
    proxy, secret = FhirProxy(parts), ground.secret
    served = partial(behind.together, "Patient")
    export = bulk_export(parts, exports, served, facts, ground.engine, settings, proxy, schema=SCHEMA, secret=secret)
    explainer = explainer_of(parts, register, facts, directory)
    why = StoredExplanations(context, gate, explainer)
    portal = portal_of(ground, context, attempts, ways, sandbox, behind, why, mail.addresses)
    site = site_of(ground, context, gate, portal, sandbox)
    dispatch = Dispatch(
        exact={
            "/healthz": read_only(alive),
            "/readyz": read_only(ready(ground.engine, ground.bus)),
            "/metrics": read_only(metrics),
            "/introspect": Introspection(context, gate),
            "/token": TokenEndpoint(context, gate),
        },
        consents=consent_api(context, gate, parts, explainer, schema=SCHEMA),
        state=AppStates(context, gate),
        fhir=export,
        site=site,
    )
    crossing = CrossOrigin(BodyLimit(dispatch, settings.max_request_body_bytes), ground.engine, ground.bus)
    checkpoints = await _begin(ground, context, settings, clock)
    worker = mail.worker(context)
    if worker is not None:
        metrics.registry.register(MailMetrics(worker.outbox))
        worker.start()
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
        worker,
    )


async def _begin(ground: Ground, context: AuthzContext, settings: Settings, clock: Clock) -> AuditCheckpoints:
    """Begin to hear changes, to sign, and to keep the record; returns what signs the record."""
    ground.bus.subscribe(context.client_keys.on_change)
    await ground.bus.start()
    # Not before: the bus begins with "forget everything", and every key would be opened twice.
    ground.bus.subscribe(context.keys.on_change)
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
    return checkpoints


def _authz(ground: Ground, register: ConsentRegister, mail: Mail, directory: Directory) -> AuthzContext:
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
        clients=KnownClients(ground.engine, ground.bus),
        grants=OpenGrants(
            ground.engine, register, ground.catalogue, ground.bus, directory, writes=settings.upstream_writes
        ),
        directory=directory,
        client_keys=ClientKeys(key_addresses(settings)),
        lifetimes=_lifetimes(settings),
        open_registration=settings.open_registration,
        statements=load_statements(settings),
        client_certificates=settings.client_certificate_header is not None,
        writes=settings.upstream_writes,
        notices=mail.notices,
        tell=ground.bus.tell,
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        request=timedelta(seconds=settings.authorization_request_seconds),
        code=timedelta(seconds=settings.authorization_code_seconds),
        access_token=timedelta(seconds=settings.access_token_seconds),
        refresh_token=timedelta(days=settings.refresh_token_days),
        sign_in=timedelta(seconds=settings.decision_sign_in_seconds),
        emergency=timedelta(seconds=settings.emergency_access_seconds) if settings.emergency_access else None,
    )
