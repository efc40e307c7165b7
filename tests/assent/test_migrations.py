"""Migrations make exactly the tables that the code expects, from nothing, and again without effect."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.migrate import MIGRATIONS, NewerSchemaError, current_revision, known_revisions, migrate
from assent.migrations.schema import SCHEMA, comparison_options, expected_metadata
from authz.tokens.grants import find_grant
from fhir.audit.chain import AuditChain
from fhir.audit.event import AuditRecord
from fhir.audit.indexing import AuditIndexing
from fhir.audit.journal import AuditJournal
from fhir.audit.trail import AuditTrail
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository


def differences(connection: Connection) -> list[object]:
    options = comparison_options()
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), options["target_metadata"]))


async def test_migrated_database_is_what_the_code_expects(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_text_columns_have_the_collation_that_the_code_expects(engine: AsyncEngine) -> None:
    """Alembic doesn't compare collations, and cursors and prefix searches depend on them."""
    expected = {
        (table.name, column.name): getattr(column.type, "collation", None)
        for metadata in expected_metadata()
        for table in metadata.sorted_tables
        for column in table.columns
    }
    query = "SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE table_schema = :name"
    async with engine.connect() as connection:
        rows = (await connection.execute(text(query), {"name": SCHEMA})).all()
    found = {(table, column): collation for table, column, collation in rows if table != "alembic_version"}
    assert found == expected


def test_the_names_of_the_migrations_say_their_order() -> None:
    """What a release knows is read from file names at every start; Alembic reads it from the files."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == known_revisions()


async def test_migrating_twice_changes_nothing(empty_database_url: str) -> None:
    newest = known_revisions()[-1]
    assert await current_revision(empty_database_url) is None
    assert await migrate(empty_database_url) == (None, newest)
    assert await migrate(empty_database_url) == (newest, newest)


async def test_a_schema_of_a_newer_release_is_left_alone_and_told(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    engine = create_async_engine(empty_database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE assent.alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(NewerSchemaError, match=re.escape("`9999`, which a newer release made")):
        await migrate(empty_database_url)
    assert await current_revision(empty_database_url) == "9999"


async def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    results = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    newest = known_revisions()[-1]
    assert sorted(before or "" for before, _ in results) == ["", newest, newest, newest]


async def test_everything_lives_in_the_schema_of_assent(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    engine = create_async_engine(empty_database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names(schema="public")) == []
        assert await connection.scalar(
            text("SELECT count(*) FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}
        )
    await engine.dispose()


async def test_the_release_before_can_still_write(engine: AsyncEngine) -> None:
    """Processes of 0.1.0 go on while those of this release start: they name only the columns that they know."""
    written = [
        "INSERT INTO assent.client (client_id, name, kind, redirect_uris, scope, purposes, created_at)"
        " VALUES ('c', 'C', 'public', '{}', '', '{}', now())",
        "INSERT INTO assent.user_account (id, username, password_hash, display_name, role, created_at)"
        " VALUES ('u', 'u', '-', 'U', 'patient', now())",
        "INSERT INTO assent.authorization_request (id_hash, client_id, parameters, created_at, expires_at)"
        " VALUES ('r', 'c', '{}', now(), now())",
        'INSERT INTO assent."grant" (id, client_id, user_id, scope_asked, purpose, offline, auth_time, created_at)'
        " VALUES ('g', 'c', 'u', 'openid', 'PATRQT', false, now(), now())",
    ]
    written.append(
        "INSERT INTO assent.fhir_resource_version (resource_type, id, version, last_updated, deleted, body)"
        " VALUES ('AuditEvent', 'e', 1, now(), false, '{}')"
    )
    async with engine.begin() as connection:
        for statement in written:
            await connection.execute(text(statement))
        grant = await find_grant(connection, "g")
    assert grant is not None
    assert (grant.standing, grant.launch) == (False, None)
    # Its AuditEvents are taken into the chain afterwards.
    assert await AuditChain(schema=SCHEMA).adopt(engine) == 1


async def test_looks_of_before_are_counted(empty_database_url: str) -> None:
    """`record_use` starts with what the AuditEvents that are there tell."""
    await migrate(empty_database_url)
    engine = create_async_engine(empty_database_url)
    repository = Repository(engine, load_definitions(), schema=SCHEMA, clock=lambda: datetime.now(UTC))
    trail = AuditTrail(journal := AuditJournal(engine, schema=SCHEMA), indexing := AuditIndexing(journal, repository))
    trail.start()
    first, last = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    look = AuditRecord("read", "R", "0", last, "r", client_id="app", patient="p1", entities=("Observation/o",))
    searched = replace(look, kind="search", action="E", recorded=first, query="Observation?code=1", user="Patient/p1")
    others = [replace(look, outcome="4"), replace(look, kind="token", action="E"), replace(look, client_id=None)]
    for record in (look, searched, replace(look, patient="p2"), *others):
        await trail.record(record)
    counted = [await trail.uses(patient) for patient in ("p1", "p2")]
    await trail.close()
    migration = import_module("assent.migrations.versions.v0004_record_use")
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM assent.record_use"))
        await connection.execute(text(migration.FROM_EVENTS))
    assert [await indexing.uses(patient) for patient in ("p1", "p2")] == counted
    assert counted == [{"app": (2, last)}, {"app": (1, last)}]
    await engine.dispose()
