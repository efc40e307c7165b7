"""What can be wrong with an audit record, in the words of `assent audit verify` (docs/audit.md lists them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "entry-missing",
    "entry-changed",
    "order",
    "event-missing",
    "content-changed",
    "event-unchained",
    "checkpoint-changed",
    "checkpoint-contradicted",
    "signature",
    "truncated",
    "pack-damaged",
    "unknown-key",
]


@dataclass(frozen=True, slots=True)
class Defect:
    """The first thing that is wrong: at which entry, with which AuditEvent, and what."""

    kind: Kind
    text: str
    seq: int | None = None
    event: str | None = None
