"""Why the upstream gave no usable answer. Nothing of what it said goes along: it may hold patient data."""

from __future__ import annotations

from typing import Final, Literal

FailureKind = Literal[
    "unreachable", "timeout", "too-large", "bad-status", "not-fhir", "truncated", "redirect", "foreign-link"
]

_TEXTS: Final[dict[FailureKind, str]] = {
    "unreachable": "the upstream FHIR server can't be reached, try again later",
    "timeout": "the upstream FHIR server took too long to answer, try again later",
    "too-large": "the upstream FHIR server's answer is too large, ask for less",
    "bad-status": "the upstream FHIR server refused or failed to answer",
    "not-fhir": "the upstream FHIR server's answer is not FHIR JSON",
    "truncated": "the upstream FHIR server's answer ended early, try again later",
    "redirect": "the upstream FHIR server sent a redirect, which is not followed",
    "foreign-link": "the upstream FHIR server linked to a place outside of its base, which is not followed",
}


class UpstreamFailure(Exception):
    """The upstream gave no usable answer. `status` is its HTTP status where it gave one, for logs."""

    def __init__(self, kind: FailureKind, *, status: int | None = None) -> None:
        super().__init__(_TEXTS[kind])
        self.kind: Final = kind
        self.text: Final = _TEXTS[kind]
        self.status: Final = status
