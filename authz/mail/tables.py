"""Tables of what people are told by e-mail, in schema `assent`.

INVARIANT: no column says anything about health, and none holds a code that confirms an address; only its hash.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
    true,
)

from authz.tables import metadata, user_account

mail_address = Table(
    "mail_address",
    metadata,
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), primary_key=True),
    Column("address", Text),
    Column("language", Text, nullable=False),
    Column("sharing", Boolean, nullable=False, server_default=true()),
    Column("pending", Text),
    Column("code_hash", Text),
    Column("code_until", DateTime(timezone=True)),
    Column("code_tries", Integer, nullable=False, server_default="0"),
    Column("asked_since", DateTime(timezone=True)),
    Column("asked", Integer, nullable=False, server_default="0"),
)
"""`address` is confirmed, `pending` isn't yet; `asked` counts codes asked for since `asked_since`."""

mail_outbox = Table(
    "mail_outbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("client_id", Text, nullable=False, server_default=""),
    Column("patient_id", Text, nullable=False, server_default=""),
    Column("own", Boolean, nullable=False, server_default=true()),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("next_try_at", DateTime(timezone=True), nullable=False, index=True),
    Column("tries", Integer, nullable=False, server_default="0"),
    Index(
        "uq_mail_outbox_untried",
        *("user_id", "kind", "client_id", "patient_id", "recipient"),
        unique=True,
        postgresql_where=text("tries = 0"),
    ),
)
"""Letters that wait. A row is taken out when it was sent, or given up."""

mail_ending_told = Table(
    "mail_ending_told",
    metadata,
    Column("consent_id", Text, primary_key=True),
    Column("ends_at", DateTime(timezone=True), primary_key=True),
)
"""Which ends of sharing were told of in advance."""
