"""Every setting of Assent: its name, type, bounds and default.

A setting is an environment variable `ASSENT_<NAME>` or a key `<name>` of the TOML file that `ASSENT_CONFIG` names;
the environment wins. What isn't known or doesn't parse stops the start: a misspelt security setting must never be
taken for its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from assent.mail.settings import check_mail_address, check_mail_url, mail_misfits
from assent.settings_lists import Canonicals, GroupIds, HostNames, Networks, Profiles
from assent.settings_urls import check_base_url, check_database_url, check_issuer, check_public_url
from assent.upstream_table import MEBIBYTE, BearerToken, UpstreamAuth, UpstreamTable, check_upstreams, misfits

ENVIRONMENT_PREFIX = "ASSENT_"
FILE_ONLY = frozenset({"upstreams"})
"""Settings that have no environment variable."""
_OTHER_HEADERS = frozenset(
    {"authorization", "cookie", "host", "dpop", "origin", "accept", "content-type", "content-length", "x-forwarded-for"}
)


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


def _scope_with_openid(value: str) -> str:
    if "openid" not in value.split():
        raise ValueError("must contain `openid`")
    return value


def _lasting_claim(value: str) -> str:
    # OpenID Connect Core §5.7: these are given to other people later.
    if value in ("email", "preferred_username", "upn", "unique_name", "phone_number", "name", "nickname"):
        raise ValueError("must be a claim that stays one person's, as `sub` does")
    return value


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
PublicUrl = Annotated[str, AfterValidator(check_public_url)]
Issuer = Annotated[str, AfterValidator(check_issuer)]
SINGLE_UPSTREAM = "upstream"
"""Name of the upstream that `ASSENT_UPSTREAM_URL` describes."""


class Settings(BaseSettings):
    """The settings, checked; see docs/settings.md, which a test holds to this class."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    # Where Assent listens and how it is reached.
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    public_url: PublicUrl = Field(
        "",
        description="URL under which people and apps reach Assent; the issuer. https, unless it is loopback; no path."
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
    upstream_bearer_token: BearerToken | None = Field(None, description="Token, for `bearer`.")
    upstream_token_url: BaseUrl | None = Field(None, description="Token endpoint, for `backend-services`.")
    upstream_client_id: str | None = Field(None, description="Client id there, for `backend-services`.")
    upstream_private_key_file: Path | None = Field(None, description="File with a private JWK, for `backend-services`.")
    upstream_scope: str = Field(
        "system/*.rs",
        description="Scope to ask for, for `backend-services`. Writes need more: `system/*.cruds`.",
    )
    upstream_timeout_seconds: float = Field(15.0, ge=0.1, le=300, description="Longest wait for a whole answer.")
    upstream_connect_seconds: float = Field(3.0, ge=0.1, le=60, description="Longest wait for a connection.")
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
    upstream_failures: int = Field(
        5,
        ge=1,
        le=1000,
        description="Failures in a row (no connection, no answer in time, 429, 502, 503 or 504) after"
        " which the upstream isn't asked for a while.",
    )
    directory_seconds: int = Field(
        60,
        ge=0,
        le=3600,
        description="How long it is believed what the upstream says of groups, care teams, organizations and roles "
        "that consents name. 0: it isn't asked, and nobody is known to belong to any.",
    )
    upstream_pause_seconds: float = Field(
        10.0, ge=0.1, le=600, description="How long it isn't asked then; requests are answered 503 meanwhile."
    )
    upstreams: dict[str, UpstreamTable] = Field(
        {}, description="Several upstreams, in the file only: one table `[upstreams.<name>]` each."
    )

    # What `/fhir/metadata` says of the data.
    instantiates: Canonicals = Field(
        (),
        description="Canonical URLs, separated by commas, of the published CapabilityStatements to which the upstream"
        " keeps and that `/fhir/metadata` names, such as US Core's.",
    )
    supported_profiles: Profiles = Field(
        (),
        description="Profiles that the upstream's data follow, as `Type=canonical URL`, separated by commas;"
        " `/fhir/metadata` names them.",
    )

    # Bulk exports.
    export_groups: GroupIds = Field(
        (),
        description="Ids of the Groups, separated by commas, that services may export; whose data come tells who is in"
        " one. Default: none.",
    )
    export_hosts: HostNames = Field(
        (),
        description="Hosts (`name` or `name:port`), separated by commas, from which files of exports may come"
        " beside the upstream's own URL. They are sent no credentials.",
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
    emergency_access: bool = Field(
        False,
        description="Whether clinicians may open records in an emergency without a consent; docs/emergency-access.md.",
    )
    emergency_access_seconds: int = Field(
        3600, ge=60, le=86400, description="An emergency access ends after this long; nothing renews it."
    )
    open_registration: bool = Field(False, description="Whether any app may register itself (RFC 7591).")
    statement_issuers_file: Path | None = Field(
        None,
        description="JSON file that names who may vouch for apps by software statements (RFC 7591), and their keys;"
        " see docs/apps.md. Default: nobody.",
    )
    jwks_hosts: HostNames = Field(
        (),
        description="Hosts (`name` or `name:port`), separated by commas, that may serve clients' keys (`jwks_uri`)"
        " although they have no public address or another port than 443.",
    )

    # How people sign in beside a password; docs/sign-in.md.
    oidc_issuer: Issuer | None = Field(
        None,
        description="Issuer of an OpenID Provider at which people may sign in, spelled as it spells itself. https, or"
        " loopback when `public_url` is.",
    )
    oidc_name: str | None = Field(
        None, min_length=1, max_length=60, description="What the button says after `Sign in with`."
    )
    oidc_client_id: str | None = Field(None, description="Client id there.")
    oidc_client_secret: SecretStr | None = Field(None, description="Client secret there.")
    oidc_private_key_file: Path | None = Field(
        None, description="File with a private JWK (RSA, or EC on P-256), in place of a secret."
    )
    oidc_scope: Annotated[str, AfterValidator(_scope_with_openid)] = Field(
        "openid", description="Scopes to ask for there, separated by spaces."
    )
    oidc_subject_claim: Annotated[str, AfterValidator(_lasting_claim)] = Field(
        "sub", min_length=1, description="Claim of the ID token that accounts are linked to (`assent user link`)."
    )
    passwords: bool = Field(
        True, description="Whether people may sign in with a password. Without, `oidc_issuer` is needed."
    )
    passkeys: bool = Field(
        True, description="Whether people may sign in with passkeys. They need a host name in `public_url`."
    )

    # How people are told; docs/e-mail.md.
    mail_url: Annotated[str, AfterValidator(check_mail_url)] | None = Field(
        None,
        description="Mail server: `smtp://host:port` (STARTTLS, which only loopback can do without) or `smtps://host:port`"
        " (TLS). Default: no e-mail is sent.",
    )
    mail_from: Annotated[str, AfterValidator(check_mail_address)] | None = Field(
        None, description="Address that letters come from; needed with `mail_url`."
    )
    mail_username: str | None = Field(None, min_length=1, description="User name at the mail server.")
    mail_password: SecretStr | None = Field(None, description="Password there.")
    mail_password_file: Path | None = Field(None, description="File with the password, in its place.")

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
        def given(name: str) -> bool:
            return getattr(self, f"upstream_{name}") is not None

        for problem in misfits(self.upstream_auth, given, lambda name: variable(f"upstream_{name}")):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        needed, keys = ("oidc_name", "oidc_client_id"), ("oidc_client_secret", "oidc_private_key_file")
        if self.oidc_issuer is None:
            for name in (*needed, *keys):
                if getattr(self, name) is not None:
                    raise ValueError(f"`{variable(name)}` is set but `{variable('oidc_issuer')}` isn't")
            if not self.passwords:
                raise ValueError(f"`{variable('passwords')}` is false, which needs `{variable('oidc_issuer')}`")
            return self
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"`{variable(name)}` is missing, which `{variable('oidc_issuer')}` needs")
        if sum(getattr(self, name) is not None for name in keys) != 1:
            raise ValueError(f"exactly one of `{variable(keys[0])}` and `{variable(keys[1])}` must be set")
        if self.oidc_issuer.startswith("http:") and not self.public_url.startswith("http:"):
            raise ValueError(f"`{variable('oidc_issuer')}` must begin with `https://`")
        return self

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        for problem in mail_misfits(lambda name: getattr(self, name) is not None, variable):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _upstreams_fit(self) -> Self:
        if self.upstreams and self.upstream_url is not None:
            raise ValueError(
                f"`{variable('upstream_url')}` is set and there are tables `[upstreams.…]`; keep one of both"
            )
        check_upstreams(self.upstreams)
        return self

    def upstream_tables(self) -> Mapping[str, UpstreamTable]:
        """Every upstream by its name; empty when none is set."""
        if self.upstreams or self.upstream_url is None:
            return self.upstreams
        names = [name for name in UpstreamTable.model_fields if name != "types"]
        single = {name: getattr(self, f"upstream_{name}") for name in names}
        return {SINGLE_UPSTREAM: UpstreamTable.model_validate(single)}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()
