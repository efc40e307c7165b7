"""Grants that `authorization_details` hold to data categories (RFC 9396).

The release before runs on this schema: it makes grants that are held to none, and doesn't know the bound of others. A
token that it gives for one of these opens what scopes and consents say.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("grant", sa.Column("categories", sa.ARRAY(sa.Text()), nullable=True), schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("grant", "categories", schema="assent")
