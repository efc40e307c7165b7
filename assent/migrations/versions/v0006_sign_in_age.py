"""The oldest sign-in that counts for an authorization request.

The release before runs on this schema: it leaves the column empty, and then any sign-in counts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    column: sa.Column[object] = sa.Column("signed_in_since", sa.DateTime(timezone=True), nullable=True)
    op.add_column("authorization_request", column, schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("authorization_request", "signed_in_since", schema="assent")
