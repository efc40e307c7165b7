"""How often each app looked at each record; filled from the AuditEvents that are there.

The release before runs on this schema: it doesn't know the table, and what it stores in the meantime isn't counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FROM_EVENTS = """
INSERT INTO assent.record_use (patient, client_id, times, last)
SELECT substr(patient, 9), client, count(*), max(recorded)
FROM (
    SELECT
        jsonb_path_query_first(event, '$.entity[*] ? (@.role.code == "1").what.reference') #>> '{}' AS patient,
        jsonb_path_query_first(event, '$.agent[*].who.identifier ? (@.system == "urn:assent:client").value')
            #>> '{}' AS client,
        (event ->> 'recorded')::timestamptz AS recorded
    FROM (
        SELECT convert_from(body, 'UTF8')::jsonb AS event
        FROM assent.fhir_resource WHERE resource_type = 'AuditEvent' AND NOT deleted
    ) AS events
    WHERE event ->> 'outcome' = '0'
        AND jsonb_path_exists(event, '$.subtype[*] ? (@.code == "read" || @.code == "search")')
) AS looks
WHERE patient LIKE 'Patient/%' AND client IS NOT NULL
GROUP BY 1, 2
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "record_use",
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("patient", "client_id", name="pk_record_use"),
        schema="assent",
    )
    op.execute(FROM_EVENTS)


def downgrade() -> None:
    """Take back."""
    op.drop_table("record_use", schema="assent")
