"""Tokens bound to a key or a certificate, pushed requests, and what a registration demands of its client.

The release before runs on this schema: it names none of the new columns, and what it issues is bound to no key.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BOUND = ("authorization_code", "refresh_token")


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "client",
        sa.Column("requires", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        schema="assent",
    )
    for table in _BOUND:
        op.add_column(table, sa.Column("dpop_jkt", sa.Text(), nullable=True), schema="assent")
    op.add_column("refresh_token", sa.Column("x5t", sa.Text(), nullable=True), schema="assent")
    op.create_table(
        "pushed_request",
        sa.Column("handle_hash", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("signed", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["assent.client.client_id"], name="fk_pushed_request_client_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("handle_hash", name="pk_pushed_request"),
        schema="assent",
    )
    op.create_index("ix_pushed_request_expires_at", "pushed_request", ["expires_at"], schema="assent")
    op.create_table(
        "used_proof",
        sa.Column("proof_hash", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("proof_hash", name="pk_used_proof"),
        schema="assent",
    )
    op.create_index("ix_used_proof_expires_at", "used_proof", ["expires_at"], schema="assent")


def downgrade() -> None:
    """Take back. What was bound to a key would count without it: it is taken away first."""
    op.execute("DELETE FROM assent.refresh_token WHERE x5t IS NOT NULL")
    op.drop_column("refresh_token", "x5t", schema="assent")
    for table in _BOUND:
        op.execute(f"DELETE FROM assent.{table} WHERE dpop_jkt IS NOT NULL")  # noqa: S608 - our own names
        op.drop_column(table, "dpop_jkt", schema="assent")
    op.drop_table("used_proof", schema="assent")
    op.drop_table("pushed_request", schema="assent")
    op.drop_column("client", "requires", schema="assent")
