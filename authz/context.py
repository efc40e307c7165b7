"""What the endpoints of the authorization server are given by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from authz.clients.keys import ClientKeys
from authz.clients.known_clients import KnownClients
from authz.clients.software_statements import SoftwareStatements
from authz.mail.notices import NO_NOTICES, Notices
from authz.tokens.access_tokens import AccessTokens
from authz.tokens.open_grants import OpenGrants
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.trail import AuditTrail
from fhir.consents.directory import NO_DIRECTORY, Knows
from fhir.store.change_bus import Change
from fhir.store.repository import Repository
from policies.catalogue import Catalogue


def _nobody(_: Change) -> None:
    """Nobody caches anything."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long things live."""

    request: timedelta
    code: timedelta
    access_token: timedelta
    refresh_token: timedelta
    sign_in: timedelta
    """How old a sign-in may be with which somebody decides about an app."""
    emergency: timedelta | None = None
    """How long emergency access lasts; None: there is none."""


@dataclass(frozen=True, slots=True)
class AuthzContext:
    """Everything that is shared by the endpoints; nothing here changes after start."""

    issuer: str
    """Public URL without a trailing slash."""
    engine: AsyncEngine
    clock: Callable[[], datetime]
    keys: SigningKeys
    tokens: AccessTokens
    repository: Repository
    """Assent's own FHIR resources."""
    catalogue: Catalogue
    audit: AuditTrail
    clients: KnownClients
    grants: OpenGrants
    client_keys: ClientKeys
    """Keys of clients that registered where they stand."""
    lifetimes: Lifetimes
    open_registration: bool = False
    statements: SoftwareStatements = field(default_factory=SoftwareStatements)
    """Software statements by those whom the operator trusts."""
    client_certificates: bool = False
    """Whether a proxy hands on the certificates with which clients connect."""
    writes: bool = False
    """Whether apps may write into the upstream what patients permit."""
    directory: Knows = NO_DIRECTORY
    """Knows who belongs to the groups that consents name."""
    notices: Notices = NO_NOTICES
    """Writes the letters by which people are told."""
    tell: Callable[[Change], None] = _nobody
    """Tells this process's own caches of a committed change, before the bus brings the same news to everybody."""

    @property
    def fhir_base(self) -> str:
        """FHIR base URL, the audience of access tokens."""
        return f"{self.issuer}/fhir"

    @property
    def registers_apps(self) -> bool:
        """Whether an app can register itself: any, or those that somebody trusted vouches for (RFC 7591)."""
        return self.open_registration or self.statements.are_taken

    @property
    def token_audiences(self) -> frozenset[str]:
        """What a client assertion may name as `aud` (RFC 7523 §3, SMART 2.2: the token endpoint)."""
        return frozenset({f"{self.issuer}/token", self.issuer})
