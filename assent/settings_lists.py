"""Settings that are lists: separated by commas in the environment, arrays in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from assent.settings_urls import check_host

_CANONICAL: Final = re.compile(r"https?://[^\s,|#]{1,256}(\|[A-Za-z0-9.-]{1,64})?")
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")


def _split_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _group_id(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", value) is None:
        raise ValueError("must be ids of Groups, such as `cohort-7`")
    return value


def _canonical(value: str) -> str:
    if _CANONICAL.fullmatch(value) is None:
        raise ValueError(
            "must be canonical URLs, such as `http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server`"
        )
    return value


def _profile(value: str) -> str:
    kind, _, canonical = value.partition("=")
    if _TYPE.fullmatch(kind) is None or _CANONICAL.fullmatch(canonical) is None:
        raise ValueError(
            "must be `Type=canonical URL`, such as `Patient=http://hl7.org/fhir/StructureDefinition/Patient`"
        )
    return value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_commas)]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(check_host)], ...], NoDecode, BeforeValidator(_split_commas)]
GroupIds = Annotated[tuple[Annotated[str, AfterValidator(_group_id)], ...], NoDecode, BeforeValidator(_split_commas)]
Canonicals = Annotated[tuple[Annotated[str, AfterValidator(_canonical)], ...], NoDecode, BeforeValidator(_split_commas)]
Profiles = Annotated[tuple[Annotated[str, AfterValidator(_profile)], ...], NoDecode, BeforeValidator(_split_commas)]


def by_type(profiles: Iterable[str]) -> dict[str, list[str]]:
    """Canonical URLs of profiles by their resource types."""
    found: dict[str, list[str]] = {}
    for profile in profiles:
        kind, _, canonical = profile.partition("=")
        found.setdefault(kind, []).append(canonical)
    return found
