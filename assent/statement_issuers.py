"""The file of the setting `statement_issuers_file`: who may vouch for apps (RFC 7591 §2.3).

`{"issuers": [{"issuer": "https://…", "jwks_uri": "https://…"}, {"issuer": "…", "jwks": {"keys": […]}}]}`
"""

from __future__ import annotations

from typing import Any

import msgspec

from assent.client_addresses import key_addresses
from assent.settings import Settings, variable
from authz.clients.key_addresses import AddressRefused
from authz.clients.key_sets import KeySetRefused, usable_keys
from authz.clients.software_statements import SoftwareStatements, StatementIssuer


class StatementIssuersError(ValueError):
    """The file can't be used; the text says why."""


class _Issuer(msgspec.Struct, forbid_unknown_fields=True):
    issuer: str
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    issuers: list[_Issuer]


def load_statements(settings: Settings) -> SoftwareStatements:
    """Those who are trusted; nobody without a file. Raises StatementIssuersError."""
    path = settings.statement_issuers_file
    if path is None:
        return SoftwareStatements()
    try:
        raw = path.read_bytes()
    except OSError as missing:
        named = variable("statement_issuers_file")
        raise StatementIssuersError(f"`{path}`, which {named} names, can't be read: {missing.strerror}") from missing
    try:
        found = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise StatementIssuersError(f"`{path}` is not a JSON object with `issuers` as docs/apps.md says") from broken
    issuers = [_issuer(entry, settings) for entry in found.issuers]
    if len({issuer.issuer for issuer in issuers}) < len(issuers):
        raise StatementIssuersError(f"an issuer stands twice in `{path}`")
    public = settings.public_url
    return SoftwareStatements(issuers, {public, f"{public}/register"})


def _issuer(entry: _Issuer, settings: Settings) -> StatementIssuer:
    if not entry.issuer or (entry.jwks is None) == (entry.jwks_uri is None):
        raise StatementIssuersError("every issuer of software statements needs `issuer`, and `jwks` or `jwks_uri`")
    try:
        if entry.jwks_uri is not None:
            key_addresses(settings).check(entry.jwks_uri)
            return StatementIssuer(entry.issuer, jwks_uri=entry.jwks_uri)
        return StatementIssuer(entry.issuer, keys=usable_keys(entry.jwks or {}))
    except (AddressRefused, KeySetRefused) as refused:
        raise StatementIssuersError(f"issuer `{entry.issuer}`: {refused}") from refused
