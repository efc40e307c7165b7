"""One table `[upstreams.<name>]` of the settings file, and what several of them must be together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from assent.settings_urls import check_base_url
from fhir.r4.own_types import OWN_TYPES
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES

MEBIBYTE = 1024 * 1024
MOST_UPSTREAMS = 16
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TAKEN = frozenset({"assent"})

UpstreamAuth = Literal["none", "basic", "bearer", "backend-services"]
UPSTREAM_CREDENTIALS: dict[UpstreamAuth, tuple[str, ...]] = {
    "none": (),
    "basic": ("username", "password"),
    "bearer": ("bearer_token",),
    "backend-services": ("token_url", "client_id", "private_key_file"),
}
Url = Annotated[str, AfterValidator(check_base_url)]
_TOKEN = re.compile(r"[!-~]+")
"""RFC 6750 §2.1 allows fewer characters; some servers use others."""


def _bearer(given: SecretStr) -> SecretStr:
    if _TOKEN.fullmatch(given.get_secret_value()) is None:
        raise ValueError("must be a token, without spaces and line ends")
    return given


BearerToken = Annotated[SecretStr, AfterValidator(_bearer)]


def _types(given: tuple[str, ...]) -> tuple[str, ...]:
    for kind in given:
        if kind not in RESOURCE_TYPE_NAMES:
            raise ValueError("must be resource types of R4, such as `Observation`")
        if kind in OWN_TYPES:
            raise ValueError(f"must not name `{kind}`, which is Assent's own")
        if kind == "Binary":
            raise ValueError("must not name `Binary`, which goes with `DocumentReference`")
    return given


class UpstreamTable(BaseModel):
    """One upstream. Its keys are those of the settings `upstream_…`, which describe a single one, and `types`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url
    types: Annotated[tuple[str, ...], AfterValidator(_types)] | None = Field(None, min_length=1)
    """Resource types that it answers for; absent: those that no other upstream names."""
    auth: UpstreamAuth = "none"
    username: str | None = None
    password: SecretStr | None = None
    bearer_token: BearerToken | None = None
    token_url: Url | None = None
    client_id: str | None = None
    private_key_file: Path | None = None
    scope: str = "system/*.rs"
    timeout_seconds: float = Field(15.0, ge=0.1, le=300)
    connect_seconds: float = Field(3.0, ge=0.1, le=60)
    connections: int = Field(100, ge=1, le=1000)
    max_body_bytes: int = Field(32 * MEBIBYTE, ge=1024, le=512 * MEBIBYTE)
    failures: int = Field(5, ge=1, le=1000)
    pause_seconds: float = Field(10.0, ge=0.1, le=600)

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        for problem in misfits(self.auth, lambda name: getattr(self, name) is not None, lambda name: name):
            raise ValueError(problem)
        return self


def misfits(auth: UpstreamAuth, given: Callable[[str], bool], named: Callable[[str], str]) -> Iterator[str]:
    """What is wrong with the credentials of an upstream; `named` spells a key as the operator knows it."""
    needed = UPSTREAM_CREDENTIALS[auth]
    for kind, names in UPSTREAM_CREDENTIALS.items():
        for name in names:
            if name in needed and not given(name):
                yield f"`{named(name)}` is missing, which `{named('auth')}={kind}` needs"
            if name not in needed and given(name):
                yield (
                    f"`{named(name)}` is set but `{named('auth')}` is `{auth}`; "
                    f"remove it or set `{named('auth')}={kind}`"
                )


def check_upstreams(tables: Mapping[str, UpstreamTable]) -> None:
    """Raises ValueError unless every type has one upstream at most, and Patient has one."""
    for name in tables:
        if _NAME.fullmatch(name) is None or name in _TAKEN:
            raise ValueError(f"`[upstreams.{name[:40]}]` must have a name of its own like `lab`: a-z, 0-9 and `-`")
    if len(tables) > MOST_UPSTREAMS:
        raise ValueError(f"at most {MOST_UPSTREAMS} upstreams are possible")
    rest = [name for name, table in tables.items() if table.types is None]
    if len(rest) > 1:
        raise ValueError(f"`types` is missing in `[upstreams.{rest[1]}]`: one upstream only can answer for the rest")
    named: dict[str, str] = {}
    for name, table in tables.items():
        for kind in table.types or ():
            if kind in named:
                raise ValueError(f"`{kind}` stands in `types` of `{named[kind]}` and of `{name}`; it can have one")
            named[kind] = name
    if tables and not rest and "Patient" not in named:
        raise ValueError("no upstream answers for `Patient`; name it in `types` of one, or leave `types` out of one")
    _check_apart(tables)


def _check_apart(tables: Mapping[str, UpstreamTable]) -> None:
    """No base below another: a link of one would be a link of the other too, and be followed with its credentials."""
    places = {name: _place(table.url) for name, table in tables.items()}
    for name, place in places.items():
        for other, around in places.items():
            if other != name and place.startswith(around):
                raise ValueError(f"`url` of `[upstreams.{name}]` must not be that of `{other}`, nor below it")


def _place(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path}/"
