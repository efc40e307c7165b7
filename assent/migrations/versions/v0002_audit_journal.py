"""The audit journal: records on disk before they are AuditEvents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit_journal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=True),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("failed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_journal"),
        schema="assent",
    )
    op.create_index("ix_audit_journal_patient", "audit_journal", ["patient", "id"], schema="assent")
