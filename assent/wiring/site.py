"""Everything that isn't a hot path, put together by the composition root: OAuth endpoints, and pages for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, FastAPI

from assent.api_description import describe
from assent.brands import PATH as BRANDS_PATH
from assent.brands import brand_routes, load_brands
from assent.doctor import examine
from assent.mail.transport import Transport
from assent.wiring.ground import Ground
from authz.context import AuthzContext
from authz.mail.addresses import MailAddresses
from authz.routes import oauth_router
from authz.sign_in.attempts import SignInAttempts
from authz.sign_in.end_session import read_ending
from authz.sign_in.sessions import Sessions
from authz.tokens.gate import TokenGate
from fhir.upstream.upstreams import Upstreams
from portal.app_registrations import AppRegistrations
from portal.clinician_records import SharedRecords
from portal.consent_book import PatientsConsentBook
from portal.emergency_book import StoredEmergencies
from portal.explain_book import StoredExplanations
from portal.patient_record import StoredRecord
from portal.pending_requests import PendingRequests
from portal.ports import Ports
from portal.router import PortalPages, portal_pages
from portal.settings import DemoUser, PortalSettings
from portal.sign_in_ports import SignInWays
from smart.brands import Brands


@dataclass(frozen=True, slots=True)
class SandboxExtras:
    """What sandbox mode adds. INVARIANT: None in every other mode."""

    demo_users: tuple[DemoUser, ...]
    routes: Callable[[AuthzContext], APIRouter]
    brands: Callable[[str], Brands]
    """By the public URL."""
    mail: Transport
    """Where letters go instead of a mail server."""


def portal_of(
    ground: Ground,
    context: AuthzContext,
    attempts: SignInAttempts,
    ways: SignInWays,
    sandbox: SandboxExtras | None,
    behind: Upstreams,
    explanations: StoredExplanations,
    mail: MailAddresses | None,
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
            ground.languages,
            StoredEmergencies(context, requests),
            explanations,
            ways,
            mail,
        ),
        PortalSettings(
            https=settings.public_url.startswith("https:"),
            fresh_sign_in=timedelta(seconds=settings.decision_sign_in_seconds),
            sandbox_hint=sandbox.demo_users if sandbox else (),
        ),
        ground.clock,
    )


def site_of(
    ground: Ground, context: AuthzContext, gate: TokenGate, pages: PortalPages, sandbox: SandboxExtras | None
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
