"""Launches that an EHR began, and what of a launch is kept with requests and grants.

The release before runs on this schema: it doesn't know the table, and the new columns are empty or have a default.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "launch_context",
        sa.Column("launch_hash", sa.Text(), nullable=False),
        sa.Column("ehr_client_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("context", _JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["ehr_client_id"],
            ["assent.client.client_id"],
            name=op.f("fk_launch_context_ehr_client_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("launch_hash", name=op.f("pk_launch_context")),
        schema="assent",
    )
    op.create_index(
        op.f("ix_launch_context_expires_at"), "launch_context", ["expires_at"], unique=False, schema="assent"
    )
    op.add_column("authorization_request", sa.Column("launch", _JSON, nullable=True), schema="assent")
    op.add_column("grant", sa.Column("launch", _JSON, nullable=True), schema="assent")
    standing: sa.Column[bool] = sa.Column("standing", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("grant", standing, schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("grant", "standing", schema="assent")
    op.drop_column("grant", "launch", schema="assent")
    op.drop_column("authorization_request", "launch", schema="assent")
    op.drop_index(op.f("ix_launch_context_expires_at"), table_name="launch_context", schema="assent")
    op.drop_table("launch_context", schema="assent")
