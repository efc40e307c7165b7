"""Emergency access: who opened whose record, why, until when, and the operator's review.

The release before runs on this schema: it doesn't know the table, and gives no such access.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "emergency_access",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("fhir_user", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("review_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("grant_id", name="pk_emergency_access"),
        schema="assent",
    )
    op.create_index("ix_emergency_access_patient_id", "emergency_access", ["patient_id"], unique=False, schema="assent")
    op.create_index("ix_emergency_access_opened_at", "emergency_access", ["opened_at"], unique=False, schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_table("emergency_access", schema="assent")
