"""State that apps keep here (SMART App State).

The release before runs on this schema: it doesn't look at the new table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "app_state",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["assent.client.client_id"], name="fk_app_state_client_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_app_state"),
        schema="assent",
    )
    op.create_index("ix_app_state_owner", "app_state", ["client_id", "subject", "code"], schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_app_state_owner", "app_state", schema="assent")
    op.drop_table("app_state", schema="assent")
