"""Registered apps: RFC 6749 §2, SMART App Launch 2.2 "Registering a SMART app"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients.key_addresses import AddressRefused, KeyAddresses
from authz.clients.key_sets import KeySetRefused, check_key_set
from authz.consents.recorders import letters_of
from authz.opaque_secret import hash_of, new_secret
from fhir.store.change_bus import announce
from smart.scope_syntax import split_scope

ClientKind = Literal["public", "confidential-symmetric", "confidential-asymmetric", "backend", "gateway", "ehr"]
KINDS: tuple[str, ...] = get_args(ClientKind)
PUBLIC_ONLY = KeyAddresses()
DPOP, PUSHED, SIGNED = (
    "dpop_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
)
"""What a registration can demand of its client beyond SMART: RFC 9449 §5.2, RFC 9126 §6, RFC 9101 §10.5."""
CERTIFICATE = "tls_client_certificate_bound_access_tokens"
"""RFC 8705 §3.4."""
REQUIREMENTS: tuple[str, ...] = (DPOP, PUSHED, SIGNED, CERTIFICATE)
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
EXCHANGE_SCOPE = "assent/exchange"
"""Of a gateway that may exchange tokens; only the operator gives it."""
_SCOPE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ClientError(ValueError):
    """A registration that can't be accepted; the text says why."""


class RedirectUriError(ClientError):
    """A redirect URI is missing, or not one that is safe to send a code to."""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered app."""

    client_id: str
    name: str
    kind: ClientKind
    secret_hash: str | None
    jwks: Mapping[str, Any] | None
    redirect_uris: tuple[str, ...]
    scope: str
    purposes: tuple[str, ...]
    disabled: bool
    jwks_uri: str | None = None
    """Where its keys stand, in place of `jwks`."""
    post_logout_redirect_uris: tuple[str, ...] = ()
    """Where people may be sent once they are signed out."""
    awaits_review: bool = False
    requires: frozenset[str] = frozenset()
    """Of REQUIREMENTS."""
    software_statement: str | None = None
    """With which it was registered (RFC 7591 §2.3); verified then."""

    @property
    def is_live(self) -> bool:
        """Whether it may do anything at all."""
        return not self.disabled and not self.awaits_review

    @property
    def grant_types(self) -> tuple[str, ...]:
        """RFC 7591 grant_types that the kind allows, and the operator."""
        if self.kind == "gateway" and EXCHANGE_SCOPE in self.scope.split(" "):
            return ("client_credentials", TOKEN_EXCHANGE)
        if self.kind in ("backend", "gateway", "ehr"):
            return ("client_credentials",)
        return ("authorization_code", "refresh_token")

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """RFC 7591 token_endpoint_auth_method values that it may use."""
        if self.jwks is not None or self.jwks_uri is not None:
            return ("private_key_jwt",)
        return ("client_secret_basic", "client_secret_post") if self.secret_hash else ("none",)

    @property
    def origins(self) -> frozenset[str]:
        """Web origins of its redirect URIs, for CORS."""
        parts = [urlsplit(uri) for uri in self.redirect_uris]
        return frozenset(f"{p.scheme}://{p.netloc}" for p in parts if p.scheme in ("http", "https"))


@dataclass(frozen=True, slots=True)
class NewClient:
    """What a registration gives."""

    name: str
    kind: ClientKind
    redirect_uris: tuple[str, ...] = ()
    scope: str = ""
    purposes: tuple[str, ...] = ("PATRQT",)
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    client_id: str | None = None
    client_secret: str | None = None
    requires: frozenset[str] = frozenset()
    """Of REQUIREMENTS."""
    software_statement: str | None = None
    """With which it was registered (RFC 7591 §2.3); verified then."""

    @property
    def needs_secret(self) -> bool:
        """Whether it authenticates by a secret."""
        return self.kind != "public" and self.jwks is None and self.jwks_uri is None


def new_client_id() -> str:
    """Random, without a hyphen: at its beginning, commands would take the id for an option."""
    return new_secret()[:22].replace("-", "_")


async def add_client(
    connection: AsyncConnection, new: NewClient, now: datetime, *, addresses: KeyAddresses = PUBLIC_ONLY
) -> tuple[Client, str | None]:
    """Register an app; returns it with its secret, which is shown this once. Raises ClientError."""
    check_registration(new, addresses)
    secret = None
    if new.needs_secret:
        secret = new.client_secret or new_secret()
    client = Client(
        client_id=new.client_id or new_client_id(),
        name=new.name,
        kind=new.kind,
        secret_hash=None if secret is None else hash_of(secret),
        jwks=new.jwks,
        redirect_uris=new.redirect_uris,
        scope=new.scope,
        purposes=new.purposes,
        disabled=False,
        jwks_uri=new.jwks_uri,
        post_logout_redirect_uris=new.post_logout_redirect_uris,
        requires=new.requires,
        software_statement=new.software_statement,
    )
    await connection.execute(
        insert(tables.client).values(
            client_id=client.client_id,
            name=client.name,
            kind=client.kind,
            secret_hash=client.secret_hash,
            jwks=client.jwks,
            jwks_uri=client.jwks_uri,
            redirect_uris=list(client.redirect_uris),
            post_logout_redirect_uris=list(client.post_logout_redirect_uris),
            scope=client.scope,
            purposes=list(client.purposes),
            requires=sorted(client.requires),
            software_statement=client.software_statement,
            created_at=now,
        )
    )
    await announce(connection, "client", client.client_id)
    return client, secret


def check_registration(new: NewClient, addresses: KeyAddresses = PUBLIC_ONLY) -> None:
    """Refuse what would be unsafe or unusable. Raises ClientError."""
    if not new.name.strip() or len(new.name) > 100 or not new.name.isprintable():
        raise ClientError("`client_name` must be 1 to 100 printable characters")
    if new.kind not in KINDS:
        raise ClientError(f"there is no kind `{new.kind}`, choose one of {', '.join(KINDS)}")
    interactive = new.kind in ("public", "confidential-symmetric", "confidential-asymmetric")
    if interactive and not new.redirect_uris:
        raise RedirectUriError("`redirect_uris` must name at least one URI")
    if max(len(new.redirect_uris), len(new.post_logout_redirect_uris)) > 20:
        raise RedirectUriError("at most 20 redirect URIs")
    if len(new.scope) > 4_000:
        raise ClientError("`scope` may have at most 4000 characters")
    if not _SCOPE.fullmatch(new.scope):  # RFC 6749 §3.3
        raise ClientError("`scope` may have printable ASCII only, without quotation marks and backslashes")
    if letters_of(new.scope):
        _check_recorder(new)
    for uri in (*new.redirect_uris, *new.post_logout_redirect_uris):
        check_redirect_uri(uri)
    check_keys(new.kind, new.jwks, new.jwks_uri, addresses)
    if not new.requires <= set(REQUIREMENTS):
        raise ClientError(f"a registration can require {', '.join(REQUIREMENTS)}, and nothing else")
    if SIGNED in new.requires and new.jwks is None and new.jwks_uri is None:
        raise ClientError(f"`{SIGNED}` needs `jwks` or `jwks_uri`")


def _check_recorder(new: NewClient) -> None:
    """Who writes consents reads nothing by them (docs/decisions/0015-consent-api.md). Raises ClientError."""
    if new.kind != "backend":
        raise ClientError("a scope `assent/consents.…` is for clients of kind `backend`")
    if split_scope(new.scope)[1]:
        raise ClientError("`scope` has `assent/consents.…` and scopes to read data; register two clients")


def check_keys(
    kind: ClientKind, jwks: Mapping[str, Any] | None, jwks_uri: str | None, addresses: KeyAddresses = PUBLIC_ONLY
) -> None:
    """The keys of a client, or where they stand; never both (RFC 7591 §2). Raises ClientError."""
    if jwks is not None and jwks_uri is not None:
        raise ClientError("give `jwks` or `jwks_uri`, not both")
    if kind in ("confidential-asymmetric", "backend") and jwks is None and jwks_uri is None:
        raise ClientError(f"a `{kind}` client needs `jwks` or `jwks_uri`")  # SMART 2.2: services have no secret
    if kind in ("public", "confidential-symmetric") and (jwks is not None or jwks_uri is not None):
        raise ClientError(f"a `{kind}` client has no keys")
    try:
        if jwks is not None:
            check_key_set(jwks)
        if jwks_uri is not None:
            addresses.check(jwks_uri)
    except (KeySetRefused, AddressRefused) as refused:
        raise ClientError(str(refused)) from refused


def check_redirect_uri(uri: str) -> None:
    """https, or http to loopback (RFC 8252 §7.3); absolute, no fragment (RFC 6749 §3.1.2). Raises RedirectUriError."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError as broken:
        raise RedirectUriError("a redirect URI is malformed") from broken
    plain = uri.isascii() and uri.isprintable() and " " not in uri and "\\" not in uri and len(uri) <= 2_000
    if not plain or not host or "#" in uri or parts.username is not None or "*" in uri:
        raise RedirectUriError(f"redirect URI `{uri[:200]}` must be an absolute URI without fragment, user or wildcard")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise RedirectUriError(f"redirect URI `{uri[:200]}` must be https, or http to loopback")


def is_client_id(text: str) -> bool:
    """Whether a client could have this id: the database may be asked for it."""
    return 0 < len(text) <= 200 and "\x00" not in text


async def find_client(connection: AsyncConnection, client_id: str) -> Client | None:
    """One client; None when there is none."""
    if not is_client_id(client_id):
        return None
    row = (await connection.execute(select(tables.client).where(tables.client.c.client_id == client_id))).first()
    return None if row is None else client_from_row(dict(row._mapping))


async def list_clients(connection: AsyncConnection) -> Sequence[Client]:
    """All, by name."""
    rows = await connection.execute(select(tables.client).order_by(tables.client.c.name, tables.client.c.client_id))
    return [client_from_row(dict(row._mapping)) for row in rows]


async def rotate_secret(connection: AsyncConnection, client_id: str) -> str | None:
    """A new secret; the old one ends at once. None when there is no such client with a secret."""
    secret = new_secret()
    c = tables.client.c
    done = await connection.execute(
        update(tables.client)
        .where(c.client_id == client_id, c.secret_hash.is_not(None))
        .values(secret_hash=hash_of(secret))
    )
    await announce(connection, "client", client_id)
    return secret if done.rowcount else None


async def disable_client(connection: AsyncConnection, client_id: str, now: datetime) -> bool:
    """End a client: its tokens count for nothing from now on. False when there is none."""
    c = tables.client.c
    values = {"disabled_at": func.coalesce(c.disabled_at, now)}
    done = await connection.execute(update(tables.client).where(c.client_id == client_id).values(**values))
    await announce(connection, "client", client_id)
    return bool(done.rowcount)


def client_from_row(row: Mapping[str, Any]) -> Client:
    """A row of the table as a client."""
    return Client(
        client_id=row["client_id"],
        name=row["name"],
        kind=cast(ClientKind, row["kind"]),
        secret_hash=row["secret_hash"],
        jwks=row["jwks"],
        redirect_uris=tuple(row["redirect_uris"]),
        scope=row["scope"],
        purposes=tuple(row["purposes"]),
        disabled=row["disabled_at"] is not None,
        awaits_review=row["review_since"] is not None,
        jwks_uri=row["jwks_uri"],
        post_logout_redirect_uris=tuple(row["post_logout_redirect_uris"]),
        requires=frozenset(row["requires"]),
        software_statement=row["software_statement"],
    )
