"""What the code expects of the database: every table of schema `assent`, and how a migrated database is compared."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData

from authz.mail.tables import mail_address
from fhir.audit.chain import chain_table
from fhir.audit.checkpoints import checkpoint_table
from fhir.audit.journal import journal_table
from fhir.audit.record_use import record_use_table
from fhir.export.jobs import export_job_table
from fhir.store.tables import store_metadata

SCHEMA = "assent"


def expected_metadata() -> list[MetaData]:
    """The tables of the authorization server, of the FHIR store, of the audit record and of exports."""
    audit = MetaData(schema=SCHEMA)
    for table in (journal_table, chain_table, checkpoint_table, record_use_table):
        table(audit)
    jobs = MetaData(schema=SCHEMA)
    export_job_table(jobs)
    return [mail_address.metadata, store_metadata(SCHEMA), audit, jobs]


def comparison_options() -> dict[str, Any]:
    """Options with which Alembic compares only what is Assent's."""
    return {
        "target_metadata": expected_metadata(),
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": _is_ours,
        "compare_type": True,
        "compare_server_default": True,
    }


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    return name == SCHEMA if kind == "schema" else True
