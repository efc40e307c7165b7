"""The software statement with which an app registered.

The release before runs on this schema: it doesn't look at the column, and what it registers has none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("client", sa.Column("software_statement", sa.Text(), nullable=True), schema="assent")


def downgrade() -> None:
    """Take back."""
    op.drop_column("client", "software_statement", schema="assent")
