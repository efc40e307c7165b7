"""The tables of the FHIR store: current resources, every version of them, and what searches look at.

`fhir_resource` holds one row per resource ever made, with its current body; `fhir_resource_version` holds every
version, the current one too, and is only ever inserted into. The six value tables hold what FHIR R4 search
parameters (§3.1.1.4) find in the current version, keyed by the integer `pk` of the resource. They are derived:
they may be dropped and built again from the bodies.

Bodies are `bytea`: the JSON text as it was given, since a JSONB column would rewrite numbers and order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VALUE_TABLES = ("fhir_token", "fhir_reference", "fhir_date", "fhir_string", "fhir_quantity", "fhir_uri")


def _word(name: str, *, nullable: bool = False) -> Column[Any]:
    # Bytewise collation: prefix searches and cursors then follow one order, whatever the locale of the cluster.
    return Column(name, Text(collation="C"), nullable=nullable)


def _moment(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False)


def _number(name: str) -> Column[Any]:
    return Column(name, Numeric, nullable=False)


def _resources(metadata: MetaData) -> None:
    Table(
        "fhir_resource",
        metadata,
        Column("pk", BigInteger, Identity(always=False)),
        _word("resource_type"),
        _word("id"),
        Column("version", Integer, nullable=False),
        _moment("last_updated"),
        Column("deleted", Boolean, nullable=False),
        Column("body", LargeBinary, nullable=False),
        PrimaryKeyConstraint("pk", name="pk_fhir_resource"),
        UniqueConstraint("resource_type", "id", name="uq_fhir_resource_type_id"),
        Index("ix_fhir_resource_last_updated", "resource_type", "last_updated", "pk"),
        Index("ix_fhir_resource_type_pk", "resource_type", "pk"),
    )
    Table(
        "fhir_resource_version",
        metadata,
        _word("resource_type"),
        _word("id"),
        Column("version", Integer, nullable=False),
        _moment("last_updated"),
        Column("deleted", Boolean, nullable=False),
        Column("body", LargeBinary, nullable=False),
        PrimaryKeyConstraint("resource_type", "id", "version", name="pk_fhir_resource_version"),
    )


def _values(metadata: MetaData, name: str, columns: list[Column[Any]], *lookups: tuple[str, ...]) -> None:
    """One value table: whose value it is, the value, an index for each way to look it up, and one to replace it.

    No foreign key: the store writes these rows in the transaction of the resource, and a check for each of
    the dozens of rows of a resource would be the larger part of a bulk load.
    """
    table = Table(
        name,
        metadata,
        Column("pk", BigInteger, nullable=False),
        _word("resource_type"),
        _word("param"),
        *columns,
        Index(f"ix_{name}_pk", "pk", "param"),
    )
    for lookup in lookups:
        Index(
            f"ix_{name}_{lookup[0]}",
            table.c.resource_type,
            table.c.param,
            *(table.c[column] for column in lookup),
            table.c.pk,
        )


def _consents_by_app(metadata: MetaData) -> None:
    """Which Consents name an app: `fhir.consents.sharing_patients` asks for every search of a service."""
    reference = metadata.tables[f"{metadata.schema}.fhir_reference" if metadata.schema else "fhir_reference"]
    Index(
        "ix_fhir_reference_consent_actor",
        reference.c.identifier_value,
        reference.c.pk,
        postgresql_where=text("resource_type = 'Consent' AND param = 'actor'"),
    )


@cache
def store_metadata(schema: str | None) -> MetaData:
    """The FHIR store's tables in the PostgreSQL schema `schema`: one store, a server of its own.

    Whoever asks for a schema gets the same tables; they are read, never added to.
    """
    metadata = MetaData(schema=schema)
    _resources(metadata)
    _values(
        metadata,
        "fhir_token",
        [_word("system"), _word("code"), _word("text", nullable=True)],
        ("code", "system"),
    )
    _values(
        metadata,
        "fhir_reference",
        [
            _word("target_type"),
            _word("target_id"),
            _word("url"),
            _word("identifier_system"),
            _word("identifier_value"),
        ],
        ("target_id", "target_type"),
    )
    _consents_by_app(metadata)
    _values(metadata, "fhir_date", [_moment("low"), _moment("high")], ("low", "high"), ("high",))
    _values(metadata, "fhir_string", [_word("normalized"), _word("value")], ("normalized",))
    _values(
        metadata,
        "fhir_quantity",
        [_number("low"), _number("high"), _word("system"), _word("code"), _word("unit")],
        ("low", "high"),
    )
    _values(metadata, "fhir_uri", [_word("value")], ("value",))
    return metadata
