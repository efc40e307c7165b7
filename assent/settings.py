"""Every setting of Assent: its name, type, bounds and default.

A setting is an environment variable `ASSENT_<NAME>` or a key `<name>` of the TOML file that `ASSENT_CONFIG` names;
the environment wins. What isn't known or doesn't parse stops the start: a misspelt security setting must never be
taken for its default.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from assent.settings_urls import check_base_url, check_database_url, check_host

ENVIRONMENT_PREFIX = "ASSENT_"
MEBIBYTE = 1024 * 1024
_OTHER_HEADERS = frozenset(
    {"authorization", "cookie", "host", "dpop", "origin", "accept", "content-type", "content-length", "x-forwarded-for"}
)


def _split_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError("must have at least 32 characters; `openssl rand -base64 32` makes one")
    return value


def _header_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value) is None or value.lower() in _OTHER_HEADERS:
        raise ValueError("must be the name of a header that nothing else uses, such as `Client-Cert`")
    return value


def _valkey(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("valkey://", "valkeys://", "redis://", "rediss://")):
        raise ValueError("must begin with `valkey://`, `valkeys://`, `redis://` or `rediss://`")
    return value


def _postgres(value: SecretStr) -> SecretStr:
    return SecretStr(check_database_url(value.get_secret_value()))


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_commas)]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(check_host)], ...], NoDecode, BeforeValidator(_split_commas)]
UpstreamAuth = Literal["none", "basic", "bearer", "backend-services"]

UPSTREAM_CREDENTIALS: dict[UpstreamAuth, tuple[str, ...]] = {
    "none": (),
    "basic": ("upstream_username", "upstream_password"),
    "bearer": ("upstream_bearer_token",),
    "backend-services": ("upstream_token_url", "upstream_client_id", "upstream_private_key_file"),
}


class Settings(BaseSettings):
    """The settings, checked; see docs/settings.md, which a test holds to this class."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    # Where Assent listens and how it is reached.
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    public_url: BaseUrl = Field(
        "",
        description="URL under which people and apps reach Assent; the issuer. https, unless it is loopback."
        " Default: `http://127.0.0.1:<port>`.",
    )
    workers: int = Field(1, ge=1, le=64, description="Server processes that share the port.")
    trusted_proxies: Networks = Field(
        (), description="Addresses or networks, separated by commas, whose `X-Forwarded-For` is believed."
    )
    client_certificate_header: Annotated[str, AfterValidator(_header_name)] | None = Field(
        None,
        description="Header in which a trusted proxy hands on the certificate of who connected (RFC 8705): "
        "percent-encoded PEM, or as RFC 9440. Default: no certificates.",
    )

    # Where things are kept.
    data_dir: Path = Field(Path(".assent"), description="Directory of the embedded database and generated secrets.")
    database_url: Annotated[SecretStr, AfterValidator(_postgres)] | None = Field(
        None,
        description="`postgresql://user:password@host/database`. Default: an embedded PostgreSQL.",
    )
    database_connections: int = Field(10, ge=2, le=200, description="Database connections of each server process.")
    policy_dir: Path | None = Field(
        None, description="Directory of the policy catalogue. Default: the one that comes with Assent."
    )
    brands_file: Path | None = Field(
        None, description="FHIR Bundle of User Access Brands (SMART), published at `/brands`. Default: none."
    )
    primary_brand: str | None = Field(
        None, description="`system|value` of the brand that is this server's own, when the Bundle has several."
    )
    valkey_url: Annotated[SecretStr, AfterValidator(_valkey)] | None = Field(
        None,
        description="`valkey://host:port` or `redis://…` (`valkeys`, `rediss`: TLS): counts wrong passwords for all "
        "processes and machines together. Default: each process counts for itself.",
    )
    secret: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        None,
        description="Encrypts signing keys at rest; 32 characters or more. Default: generated in the data directory.",
    )

    # The FHIR server whose data is protected.
    upstream_url: BaseUrl | None = Field(None, description="FHIR R4 base URL of the server that holds the data.")
    upstream_auth: UpstreamAuth = Field(
        "none", description="How Assent signs in there: `none`, `basic`, `bearer` or `backend-services` (SMART)."
    )
    upstream_username: str | None = Field(None, description="User name, for `basic`.")
    upstream_password: SecretStr | None = Field(None, description="Password, for `basic`.")
    upstream_bearer_token: SecretStr | None = Field(None, description="Token, for `bearer`.")
    upstream_token_url: BaseUrl | None = Field(None, description="Token endpoint, for `backend-services`.")
    upstream_client_id: str | None = Field(None, description="Client id there, for `backend-services`.")
    upstream_private_key_file: Path | None = Field(None, description="File with a private JWK, for `backend-services`.")
    upstream_scope: str = Field("system/*.rs", description="Scope to ask for, for `backend-services`.")
    upstream_timeout_seconds: float = Field(15.0, ge=0.1, le=300, description="Longest wait for a whole answer.")
    upstream_connections: int = Field(100, ge=1, le=1000, description="Open connections to the upstream, each process.")
    upstream_max_body_bytes: int = Field(
        32 * MEBIBYTE,
        ge=1024,
        le=512 * MEBIBYTE,
        description="Largest answer that is accepted; a longer one is refused.",
    )

    upstream_writes: bool = Field(
        False,
        description="Whether apps may create, change and delete there what scopes and the patient's consent permit. "
        "The upstream must keep versions and honour `If-Match`.",
    )

    # Bounds and lifetimes.
    max_request_body_bytes: int = Field(
        MEBIBYTE, ge=1024, le=64 * MEBIBYTE, description="Largest request that is read."
    )
    max_search_count: int = Field(200, ge=1, le=1000, description="Most resources on one page of a search.")
    authorization_request_seconds: int = Field(600, ge=60, le=3600, description="Time for signing in and deciding.")
    authorization_code_seconds: int = Field(60, ge=5, le=600, description="Lifetime of an authorization code.")
    access_token_seconds: int = Field(300, ge=30, le=3600, description="Lifetime of an access token.")
    refresh_token_days: int = Field(90, ge=1, le=366, description="Lifetime of an unused refresh token.")
    session_idle_seconds: int = Field(
        1800, ge=60, le=86400, description="A sign-in ends after this long without a request."
    )
    session_seconds: int = Field(43200, ge=300, le=604800, description="A sign-in ends after this long in any case.")
    decision_sign_in_seconds: int = Field(
        3600, ge=60, le=604800, description="Who decides about an app signs in again when the sign-in is older."
    )
    signing_key_days: int = Field(
        90, ge=1, le=366, description="A signing key older than this is replaced when the server starts."
    )
    open_registration: bool = Field(False, description="Whether any app may register itself (RFC 7591).")
    jwks_hosts: HostNames = Field(
        (),
        description="Hosts (`name` or `name:port`), separated by commas, that may serve clients' keys (`jwks_uri`)"
        " although they have no public address or another port than 443.",
    )

    # What is logged.
    log_format: Literal["auto", "json", "text"] = Field("auto", description="`auto`: text on a terminal, else JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _public_url_follows_port(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not values.get("public_url"):
            return values | {"public_url": f"http://127.0.0.1:{values.get('port', 8000)}"}
        return values

    @model_validator(mode="after")
    def _certificates_come_from_somebody(self) -> Self:
        if self.client_certificate_header is not None and not self.trusted_proxies:
            raise ValueError(
                f"`{variable('trusted_proxies')}` is missing, which `{variable('client_certificate_header')}` needs: "
                "name the proxy from which the header may come"
            )
        return self

    @model_validator(mode="after")
    def _upstream_credentials_fit(self) -> Self:
        needed = UPSTREAM_CREDENTIALS[self.upstream_auth]
        for kind, names in UPSTREAM_CREDENTIALS.items():
            for name in names:
                if name in needed and getattr(self, name) is None:
                    raise ValueError(f"`{variable(name)}` is missing, which `{variable('upstream_auth')}={kind}` needs")
                if name not in needed and getattr(self, name) is not None:
                    raise ValueError(
                        f"`{variable(name)}` is set but `{variable('upstream_auth')}` is `{self.upstream_auth}`; "
                        f"remove it or set `{variable('upstream_auth')}={kind}`"
                    )
        return self


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()
