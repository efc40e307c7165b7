"""Where a client's keys stand, and the token by which an app manages its own registration.

The release before runs on this schema: it doesn't know the columns, and both may be empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("client", sa.Column("jwks_uri", sa.Text(), nullable=True), schema="assent")
    op.add_column("client", sa.Column("registration_token_hash", sa.Text(), nullable=True), schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("client", "registration_token_hash", schema="assent")
    op.drop_column("client", "jwks_uri", schema="assent")
