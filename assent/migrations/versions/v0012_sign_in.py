"""Identities of people at an identity provider, their passkeys, what a sign-in waits for, and how somebody signed in.

The release before runs on this schema: it doesn't know the tables, and what it begins says nothing about how.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "identity",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name="fk_identity_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identity"),
        sa.UniqueConstraint("user_id", "issuer", name="uq_identity_user_id"),
        schema="assent",
    )
    op.create_table(
        "passkey",
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["assent.user_account.id"], name="fk_passkey_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("credential_id", name="pk_passkey"),
        schema="assent",
    )
    op.create_index("ix_passkey_user_id", "passkey", ["user_id"], unique=False, schema="assent")
    op.create_table(
        "sign_in_challenge",
        sa.Column("challenge_hash", sa.Text(), nullable=False),
        sa.Column("browser_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("next_page", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("challenge_hash", name="pk_sign_in_challenge"),
        schema="assent",
    )
    op.create_index(
        "ix_sign_in_challenge_expires_at", "sign_in_challenge", ["expires_at"], unique=False, schema="assent"
    )
    for table in ("session", "grant"):
        methods: sa.Column[list[str]] = sa.Column("amr", sa.ARRAY(sa.Text()), server_default="{}", nullable=False)
        op.add_column(table, methods, schema="assent")
        op.add_column(table, sa.Column("acr", sa.Text(), nullable=True), schema="assent")


def downgrade() -> None:
    """Take back."""
    for table in ("session", "grant"):
        op.drop_column(table, "acr", schema="assent")
        op.drop_column(table, "amr", schema="assent")
    op.drop_table("sign_in_challenge", schema="assent")
    op.drop_table("passkey", schema="assent")
    op.drop_table("identity", schema="assent")
