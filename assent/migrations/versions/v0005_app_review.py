"""Who registered an app, and since when it waits for review.

The release before runs on this schema: what it registers has no owner and waits for nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("client", sa.Column("owner_id", sa.Text(), nullable=True), schema="assent")
    op.add_column("client", sa.Column("review_since", sa.DateTime(timezone=True), nullable=True), schema="assent")
    op.create_foreign_key(
        op.f("fk_client_owner_id"),
        "client",
        "user_account",
        ["owner_id"],
        ["id"],
        source_schema="assent",
        referent_schema="assent",
        ondelete="SET NULL",
    )
    op.create_index(op.f("ix_client_owner_id"), "client", ["owner_id"], schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_client_owner_id"), table_name="client", schema="assent")
    op.drop_constraint(op.f("fk_client_owner_id"), "client", schema="assent")
    op.drop_column("client", "review_since", schema="assent")
    op.drop_column("client", "owner_id", schema="assent")
