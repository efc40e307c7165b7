"""What an evidence pack consists of: a zip with these files and these lines (docs/audit.md describes them)."""

from __future__ import annotations

from typing import Final

import msgspec

FORMAT: Final = "assent-audit-evidence-1"

EVENTS: Final = "events.ndjson"
"""AuditEvents, one a line, each exactly as it is stored, in the order of their chain entries."""
CHAIN: Final = "chain.ndjson"
CHECKPOINTS: Final = "checkpoints.txt"
"""Compact JWS, one a line, by seq."""
JWKS: Final = "jwks.json"
README: Final = "README.txt"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.jws"
LISTED: Final = (README, EVENTS, CHAIN, CHECKPOINTS, JWKS)
"""The files whose digests the manifest holds."""


class ChainLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry: of an event in the pack with everything that is hashed, of any other only its digest `entry` (hex).

    `previous` (hex) stands in the first line of each run of entries; a run ends at a checkpoint.
    """

    seq: int
    previous: str | None = None
    entry: str | None = None
    id: str | None = None
    version: int | None = None
    content: str | None = None
    adopted: bool = False


class ListedFile(msgspec.Struct, frozen=True):
    """One file: SHA-256 (hex) and length in bytes."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """What the pack is: who made it, when, what was asked for, and its files."""

    format: str
    iss: str
    created: str
    events: int
    files: dict[str, ListedFile]
    patient: str | None = None
    since: str | None = None
    until: str | None = None
