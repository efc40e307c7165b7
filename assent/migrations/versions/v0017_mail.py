"""E-mail: people's addresses, letters that wait to be sent, and ends of sharing that were told of.

The release before runs on this schema: it doesn't know the tables, and sends nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "mail_address",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("sharing", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("pending", sa.Text(), nullable=True),
        sa.Column("code_hash", sa.Text(), nullable=True),
        sa.Column("code_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name="fk_mail_address_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name="pk_mail_address"),
        schema="assent",
    )
    op.create_table(
        "mail_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), server_default="", nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("own", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["assent.user_account.id"], name="fk_mail_outbox_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_mail_outbox"),
        schema="assent",
    )
    op.create_index("ix_mail_outbox_next_try_at", "mail_outbox", ["next_try_at"], unique=False, schema="assent")
    op.create_index(
        "uq_mail_outbox_untried",
        "mail_outbox",
        ["user_id", "kind", "client_id", "patient_id", "recipient"],
        unique=True,
        schema="assent",
        postgresql_where=sa.text("tries = 0"),
    )
    op.create_table(
        "mail_ending_told",
        sa.Column("consent_id", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consent_id", "ends_at", name="pk_mail_ending_told"),
        schema="assent",
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("mail_ending_told", schema="assent")
    op.drop_table("mail_outbox", schema="assent")
    op.drop_table("mail_address", schema="assent")
