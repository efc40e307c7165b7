"""Tables of the authorization server, in schema `assent`.

INVARIANT: no column holds a password, a client secret, a code, a session id, a launch or a token; only their hashes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    schema="assent",
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def _moment(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


client = Table(
    "client",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("secret_hash", Text),
    Column("jwks", JSONB),
    Column("jwks_uri", Text),
    Column("registration_token_hash", Text),
    Column("software_statement", Text),
    Column("redirect_uris", ARRAY(Text), nullable=False),
    Column("post_logout_redirect_uris", ARRAY(Text), nullable=False, server_default="{}"),
    Column("scope", Text, nullable=False),
    Column("purposes", ARRAY(Text), nullable=False),
    Column("requires", ARRAY(Text), nullable=False, server_default="{}"),
    Column("owner_id", Text, ForeignKey("assent.user_account.id", ondelete="SET NULL"), index=True),
    _moment("created_at"),
    _moment("review_since", nullable=True),
    _moment("disabled_at", nullable=True),
)

initial_access_token = Table(
    "initial_access_token",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("uses_left", Integer, nullable=False),
    _moment("created_at"),
    _moment("expires_at"),
)

user_account = Table(
    "user_account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("username", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("fhir_user", Text),
    Column("role", Text, nullable=False),
    _moment("created_at"),
)

user_patient = Table(
    "user_patient",
    metadata,
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), primary_key=True),
    Column("patient_id", Text, primary_key=True),
    Column("patient_name", Text, nullable=False),
    Column("own", Boolean, nullable=False),
)

identity = Table(
    "identity",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), nullable=False),
    _moment("created_at"),
    UniqueConstraint("user_id", "issuer"),
)

passkey = Table(
    "passkey",
    metadata,
    Column("credential_id", LargeBinary, primary_key=True),
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    _moment("created_at"),
    _moment("used_at", nullable=True),
)

sign_in_challenge = Table(
    "sign_in_challenge",
    metadata,
    Column("challenge_hash", Text, primary_key=True),
    Column("browser_hash", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("next_page", Text, nullable=False),
    _moment("since"),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
)

launch_context = Table(
    "launch_context",
    metadata,
    Column("launch_hash", Text, primary_key=True),
    Column("ehr_client_id", Text, ForeignKey(client.c.client_id, ondelete="CASCADE"), nullable=False),
    Column("client_id", Text),
    Column("context", JSONB, nullable=False),
    _moment("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    _moment("used_at", nullable=True),
)

session = Table(
    "session",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), nullable=False),
    Column("csrf_secret", Text, nullable=False),
    _moment("auth_time"),
    Column("amr", ARRAY(Text), nullable=False, server_default="{}"),
    Column("acr", Text),
    _moment("last_seen"),
    _moment("expires_at"),
)

authorization_request = Table(
    "authorization_request",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(client.c.client_id, ondelete="CASCADE"), nullable=False),
    Column("user_id", Text),
    Column("patient_id", Text),
    Column("parameters", JSONB, nullable=False),
    Column("launch", JSONB(none_as_null=True)),
    _moment("signed_in_since", nullable=True),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("completed_at", nullable=True),
)

pushed_request = Table(
    "pushed_request",
    metadata,
    Column("handle_hash", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(client.c.client_id, ondelete="CASCADE"), nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("signed", Boolean, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
)

grant = Table(
    "grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(client.c.client_id, ondelete="CASCADE"), nullable=False),
    Column("user_id", Text, ForeignKey(user_account.c.id, ondelete="CASCADE"), nullable=False),
    Column("patient_id", Text),
    Column("scope_asked", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("consent_id", Text),
    Column("standing", Boolean, nullable=False, server_default=false()),
    Column("offline", Boolean, nullable=False),
    Column("nonce", Text),
    Column("launch", JSONB(none_as_null=True)),
    Column("categories", ARRAY(Text)),
    _moment("auth_time"),
    Column("amr", ARRAY(Text), nullable=False, server_default="{}"),
    Column("acr", Text),
    _moment("created_at"),
    _moment("expires_at", nullable=True),
    _moment("revoked_at", nullable=True),
    Index("ix_grant_consent_id", "consent_id"),
    Index("ix_grant_patient_client", "patient_id", "client_id"),
)

emergency_access = Table(
    "emergency_access",
    metadata,
    # No foreign keys: the record outlives grants, apps and accounts.
    Column("grant_id", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("client_name", Text, nullable=False),
    Column("fhir_user", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("patient_id", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False, index=True),
    _moment("ends_at"),
    _moment("reviewed_at", nullable=True),
    Column("reviewed_by", Text),
    Column("review_note", Text),
)

authorization_code = Table(
    "authorization_code",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey(grant.c.id, ondelete="CASCADE"), nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("dpop_jkt", Text),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
)

refresh_token = Table(
    "refresh_token",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey(grant.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("dpop_jkt", Text),
    Column("x5t", Text),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
)

revoked_token = Table(
    "revoked_token",
    metadata,
    Column("jti", Text, primary_key=True),
    _moment("expires_at"),
)

used_assertion = Table(
    "used_assertion",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    _moment("expires_at"),
)

used_proof = Table(
    "used_proof",
    metadata,
    Column("proof_hash", Text, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("alg", Text, nullable=False),
    Column("private_key", Text, nullable=False),
    Column("public_jwk", JSONB, nullable=False),
    _moment("created_at"),
    _moment("active_from"),
    _moment("retires_at", nullable=True),
)

policy_text = Table(
    "policy_text",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("uri", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("text", Text, nullable=False),
    _moment("created_at"),
)

app_state = Table(
    "app_state",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(client.c.client_id, ondelete="CASCADE"), nullable=False),
    Column("subject", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    _moment("updated_at"),
    Index("ix_app_state_owner", "client_id", "subject", "code"),
)
"""State that apps keep here: the newest version only, so that what an app deletes is gone."""
