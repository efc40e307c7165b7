"""What everything else of a server process stands on: settings, secret, rules and storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.language_files import load_languages
from assent.migrate import SCHEMA
from assent.policy_files import load_catalogue
from assent.secret_file import secret_for
from assent.settings import Settings
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal
from fhir.audit.trail import AuditTrail
from fhir.r4.definitions import Definitions, load_definitions
from fhir.store.change_bus import ChangeBus
from fhir.store.repository import Repository
from policies.catalogue import Catalogue
from portal.languages import Languages

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ground:
    """Made once, by the composition root."""

    settings: Settings
    secret: bytes
    clock: Clock
    engine: AsyncEngine
    bus: ChangeBus
    definitions: Definitions
    catalogue: Catalogue
    languages: Languages
    repository: Repository
    audit: AuditTrail


async def lay_ground(settings: Settings, database_url: str, clock: Clock) -> Ground:
    """Connect to a migrated database. Raises SecretFileError and CatalogueError."""
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
    catalogue = load_catalogue(settings.policy_dir)
    return Ground(
        settings=settings,
        secret=secret,
        clock=clock,
        engine=engine,
        bus=ChangeBus(database_url),
        definitions=definitions,
        catalogue=catalogue,
        languages=load_languages(catalogue, settings.policy_dir),
        repository=repository,
        audit=AuditTrail(journal, AuditIndexing(journal, repository)),
    )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"assent " + purpose).derive(secret)
