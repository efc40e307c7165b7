"""Where apps may send people once they are signed out.

The release before runs on this schema: what it registers has none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    column: sa.Column[list[str]] = sa.Column(
        "post_logout_redirect_uris", ARRAY(sa.Text()), nullable=False, server_default="{}"
    )
    op.add_column("client", column, schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("client", "post_logout_redirect_uris", schema="assent")
