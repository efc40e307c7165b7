"""What the commands of `assent audit` work on: the stored record, with everything journalled moved into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from assent.commands.connection import command_engine, now, refuse
from assent.migrate import SCHEMA
from assent.secret_file import secret_for
from assent.settings import Settings
from authz.audit_signing import AuditSigner
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.chain import AuditChain
from fhir.audit.checkpoints import AuditCheckpoints, latest_checkpoint
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The record of one database, and who signs and verifies it."""

    engine: AsyncEngine
    journal: AuditJournal
    repository: Repository
    signer: AuditSigner
    checkpoints: AuditCheckpoints


@asynccontextmanager
async def settled_record(settings: Settings) -> AsyncIterator[StoredRecord]:
    """The record, once everything journalled before is in the repository and chained."""
    async with command_engine(settings) as engine:
        signer = await _signer(engine, settings)
        checkpoints = AuditCheckpoints(engine, schema=SCHEMA, signer=signer, issuer=settings.public_url, clock=now)
        await _begin_chain(engine)
        journal = AuditJournal(engine, schema=SCHEMA)
        repository = Repository(engine, load_definitions(), schema=SCHEMA, clock=now)
        await AuditIndexing(journal, repository).settle()
        yield StoredRecord(engine, journal, repository, signer, checkpoints)


async def _signer(engine: AsyncEngine, settings: Settings) -> AuditSigner:
    secret = await secret_for(settings, engine)
    keys = SigningKeys(engine, secret, now)
    try:
        await keys.start()
    except ValueError as unopened:
        raise refuse(str(unopened)) from None
    return AuditSigner(keys, secret)


async def _begin_chain(engine: AsyncEngine) -> None:
    """Just upgraded, and no server has run: what the release before stored is chained now.

    Later only a server that starts does this: an event that was slipped in is to be found, not taken in.
    """
    chain = AuditChain(schema=SCHEMA)
    async with engine.connect() as connection:
        begun = (await chain.head(connection))[0] > 0 or await latest_checkpoint(connection, schema=SCHEMA) is not None
    if not begun:
        await chain.adopt(engine)
