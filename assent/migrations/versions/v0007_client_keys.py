"""Where a client's keys stand, the token by which an app manages its registration, and tokens for registering.

The release before runs on this schema: it doesn't know the table and the columns, and these may be empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("client", sa.Column("jwks_uri", sa.Text(), nullable=True), schema="assent")
    op.add_column("client", sa.Column("registration_token_hash", sa.Text(), nullable=True), schema="assent")
    op.create_table(
        "initial_access_token",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_initial_access_token")),
        schema="assent",
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("initial_access_token", schema="assent")
    op.drop_column("client", "registration_token_hash", schema="assent")
    op.drop_column("client", "jwks_uri", schema="assent")
