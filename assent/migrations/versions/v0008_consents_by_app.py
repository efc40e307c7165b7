"""Which Consents name an app is found by an index: a service's search begins there.

The release before runs on this schema: an index changes nothing for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        op.f("ix_fhir_reference_consent_actor"),
        "fhir_reference",
        ["identifier_value", "pk"],
        unique=False,
        schema="assent",
        postgresql_where=sa.text("resource_type = 'Consent' AND param = 'actor'"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_fhir_reference_consent_actor"), table_name="fhir_reference", schema="assent")
