"""The tables of the first release: the authorization server's and the FHIR store's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "client",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=True),
        sa.Column("jwks", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("redirect_uris", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("purposes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client")),
        schema="assent",
    )
    op.create_table(
        "policy_text",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_policy_text")),
        schema="assent",
    )
    op.create_table(
        "revoked_token",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_revoked_token")),
        schema="assent",
    )
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("alg", sa.Text(), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
        schema="assent",
    )
    op.create_table(
        "used_assertion",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "jti", name=op.f("pk_used_assertion")),
        schema="assent",
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("fhir_user", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("username", name=op.f("uq_user_account_username")),
        schema="assent",
    )
    op.create_table(
        "authorization_request",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["assent.client.client_id"],
            name=op.f("fk_authorization_request_client_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_authorization_request")),
        schema="assent",
    )
    op.create_table(
        "grant",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("scope_asked", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("consent_id", sa.Text(), nullable=True),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("auth_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"], ["assent.client.client_id"], name=op.f("fk_grant_client_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name=op.f("fk_grant_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grant")),
        schema="assent",
    )
    op.create_index("ix_grant_consent_id", "grant", ["consent_id"], unique=False, schema="assent")
    op.create_index("ix_grant_patient_client", "grant", ["patient_id", "client_id"], unique=False, schema="assent")
    op.create_table(
        "session",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("csrf_secret", sa.Text(), nullable=False),
        sa.Column("auth_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name=op.f("fk_session_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_session")),
        schema="assent",
    )
    op.create_table(
        "user_patient",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name=op.f("fk_user_patient_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "patient_id", name=op.f("pk_user_patient")),
        schema="assent",
    )
    op.create_table(
        "authorization_code",
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["grant_id"], ["assent.grant.id"], name=op.f("fk_authorization_code_grant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_authorization_code")),
        schema="assent",
    )
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["grant_id"], ["assent.grant.id"], name=op.f("fk_refresh_token_grant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_refresh_token")),
        schema="assent",
    )
    op.create_index(op.f("ix_refresh_token_grant_id"), "refresh_token", ["grant_id"], unique=False, schema="assent")
    op.create_table(
        "fhir_date",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("low", sa.DateTime(timezone=True), nullable=False),
        sa.Column("high", sa.DateTime(timezone=True), nullable=False),
        schema="assent",
    )
    op.create_index(
        "ix_fhir_date_high", "fhir_date", ["resource_type", "param", "high", "pk"], unique=False, schema="assent"
    )
    op.create_index(
        "ix_fhir_date_low", "fhir_date", ["resource_type", "param", "low", "high", "pk"], unique=False, schema="assent"
    )
    op.create_index("ix_fhir_date_pk", "fhir_date", ["pk", "param"], unique=False, schema="assent")
    op.create_table(
        "fhir_quantity",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("low", sa.Numeric(), nullable=False),
        sa.Column("high", sa.Numeric(), nullable=False),
        sa.Column("system", sa.Text(collation="C"), nullable=False),
        sa.Column("code", sa.Text(collation="C"), nullable=False),
        sa.Column("unit", sa.Text(collation="C"), nullable=False),
        schema="assent",
    )
    op.create_index(
        "ix_fhir_quantity_low",
        "fhir_quantity",
        ["resource_type", "param", "low", "high", "pk"],
        unique=False,
        schema="assent",
    )
    op.create_index("ix_fhir_quantity_pk", "fhir_quantity", ["pk", "param"], unique=False, schema="assent")
    op.create_table(
        "fhir_reference",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("target_type", sa.Text(collation="C"), nullable=False),
        sa.Column("target_id", sa.Text(collation="C"), nullable=False),
        sa.Column("url", sa.Text(collation="C"), nullable=False),
        sa.Column("identifier_system", sa.Text(collation="C"), nullable=False),
        sa.Column("identifier_value", sa.Text(collation="C"), nullable=False),
        schema="assent",
    )
    op.create_index("ix_fhir_reference_pk", "fhir_reference", ["pk", "param"], unique=False, schema="assent")
    op.create_index(
        "ix_fhir_reference_target_id",
        "fhir_reference",
        ["resource_type", "param", "target_id", "target_type", "pk"],
        unique=False,
        schema="assent",
    )
    op.create_table(
        "fhir_resource",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_fhir_resource"),
        sa.UniqueConstraint("resource_type", "id", name="uq_fhir_resource_type_id"),
        schema="assent",
    )
    op.create_index(
        "ix_fhir_resource_last_updated",
        "fhir_resource",
        ["resource_type", "last_updated", "pk"],
        unique=False,
        schema="assent",
    )
    op.create_index("ix_fhir_resource_type_pk", "fhir_resource", ["resource_type", "pk"], unique=False, schema="assent")
    op.create_table(
        "fhir_resource_version",
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("resource_type", "id", "version", name="pk_fhir_resource_version"),
        schema="assent",
    )
    op.create_table(
        "fhir_string",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("normalized", sa.Text(collation="C"), nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        schema="assent",
    )
    op.create_index(
        "ix_fhir_string_normalized",
        "fhir_string",
        ["resource_type", "param", "normalized", "pk"],
        unique=False,
        schema="assent",
    )
    op.create_index("ix_fhir_string_pk", "fhir_string", ["pk", "param"], unique=False, schema="assent")
    op.create_table(
        "fhir_token",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("system", sa.Text(collation="C"), nullable=False),
        sa.Column("code", sa.Text(collation="C"), nullable=False),
        sa.Column("text", sa.Text(collation="C"), nullable=True),
        schema="assent",
    )
    op.create_index(
        "ix_fhir_token_code",
        "fhir_token",
        ["resource_type", "param", "code", "system", "pk"],
        unique=False,
        schema="assent",
    )
    op.create_index("ix_fhir_token_pk", "fhir_token", ["pk", "param"], unique=False, schema="assent")
    op.create_table(
        "fhir_uri",
        sa.Column("pk", sa.BigInteger(), nullable=False),
        sa.Column("resource_type", sa.Text(collation="C"), nullable=False),
        sa.Column("param", sa.Text(collation="C"), nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        schema="assent",
    )
    op.create_index("ix_fhir_uri_pk", "fhir_uri", ["pk", "param"], unique=False, schema="assent")
    op.create_index(
        "ix_fhir_uri_value", "fhir_uri", ["resource_type", "param", "value", "pk"], unique=False, schema="assent"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_fhir_uri_value", table_name="fhir_uri", schema="assent")
    op.drop_index("ix_fhir_uri_pk", table_name="fhir_uri", schema="assent")
    op.drop_table("fhir_uri", schema="assent")
    op.drop_index("ix_fhir_token_pk", table_name="fhir_token", schema="assent")
    op.drop_index("ix_fhir_token_code", table_name="fhir_token", schema="assent")
    op.drop_table("fhir_token", schema="assent")
    op.drop_index("ix_fhir_string_pk", table_name="fhir_string", schema="assent")
    op.drop_index("ix_fhir_string_normalized", table_name="fhir_string", schema="assent")
    op.drop_table("fhir_string", schema="assent")
    op.drop_table("fhir_resource_version", schema="assent")
    op.drop_index("ix_fhir_resource_type_pk", table_name="fhir_resource", schema="assent")
    op.drop_index("ix_fhir_resource_last_updated", table_name="fhir_resource", schema="assent")
    op.drop_table("fhir_resource", schema="assent")
    op.drop_index("ix_fhir_reference_target_id", table_name="fhir_reference", schema="assent")
    op.drop_index("ix_fhir_reference_pk", table_name="fhir_reference", schema="assent")
    op.drop_table("fhir_reference", schema="assent")
    op.drop_index("ix_fhir_quantity_pk", table_name="fhir_quantity", schema="assent")
    op.drop_index("ix_fhir_quantity_low", table_name="fhir_quantity", schema="assent")
    op.drop_table("fhir_quantity", schema="assent")
    op.drop_index("ix_fhir_date_pk", table_name="fhir_date", schema="assent")
    op.drop_index("ix_fhir_date_low", table_name="fhir_date", schema="assent")
    op.drop_index("ix_fhir_date_high", table_name="fhir_date", schema="assent")
    op.drop_table("fhir_date", schema="assent")
    op.drop_index(op.f("ix_refresh_token_grant_id"), table_name="refresh_token", schema="assent")
    op.drop_table("refresh_token", schema="assent")
    op.drop_table("authorization_code", schema="assent")
    op.drop_table("user_patient", schema="assent")
    op.drop_table("session", schema="assent")
    op.drop_index("ix_grant_patient_client", table_name="grant", schema="assent")
    op.drop_index("ix_grant_consent_id", table_name="grant", schema="assent")
    op.drop_table("grant", schema="assent")
    op.drop_table("authorization_request", schema="assent")
    op.drop_table("user_account", schema="assent")
    op.drop_table("used_assertion", schema="assent")
    op.drop_table("signing_key", schema="assent")
    op.drop_table("revoked_token", schema="assent")
    op.drop_table("policy_text", schema="assent")
    op.drop_table("client", schema="assent")
