"""Exports that services began (FHIR Bulk Data Access).

The release before runs on this schema: it knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "export_job",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("types", ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status_url", sa.LargeBinary(), nullable=True),
        sa.Column("finished", sa.LargeBinary(), nullable=True),
        sa.Column("failed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("cancelled", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name="pk_export_job"),
        schema="assent",
    )
    op.create_index("ix_export_job_client_id", "export_job", ["client_id", "created_at"], schema="assent")
    op.create_index("ix_export_job_expires_at", "export_job", ["expires_at"], schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_table("export_job", schema="assent")
