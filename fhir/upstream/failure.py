"""Why the upstream gave no usable answer. Nothing of what it said goes along: it may hold patient data."""

from __future__ import annotations

from typing import Final, Literal

FailureKind = Literal[
    "unreachable", "timeout", "too-large", "bad-status", "not-fhir", "truncated", "redirect", "foreign-link", "paused"
]
_UNAVAILABLE: Final = frozenset({429, 502, 503, 504})
"""Statuses of a server, or of a gateway before it, that takes no requests now (RFC 9110 §15.6, RFC 6585 §4)."""
_NOT_NOW: Final = frozenset({429, 503})
"""Of these, what is said of the server and never of one resource; 502 and 504 are said of one too."""

_TEXTS: Final[dict[FailureKind, str]] = {
    "unreachable": "the upstream FHIR server can't be reached, try again later",
    "timeout": "the upstream FHIR server took too long to answer, try again later",
    "too-large": "the upstream FHIR server's answer is too large, ask for less",
    "bad-status": "the upstream FHIR server refused or failed to answer",
    "not-fhir": "the upstream FHIR server's answer is not FHIR JSON",
    "truncated": "the upstream FHIR server's answer ended early, try again later",
    "redirect": "the upstream FHIR server sent a redirect, which is not followed",
    "foreign-link": "the upstream FHIR server linked to a place outside of its base, which is not followed",
    "paused": "the upstream FHIR server didn't answer lately and isn't asked for now, try again later",
}


class UpstreamFailure(Exception):
    """The upstream gave no usable answer. `status` is its HTTP status where it gave one, for logs."""

    def __init__(self, kind: FailureKind, *, status: int | None = None, retry_after: int | None = None) -> None:
        """`retry_after` in seconds, where it is known when asking makes sense again."""
        super().__init__(_TEXTS[kind])
        self.kind: Final = kind
        self.text: Final = _TEXTS[kind]
        self.status: Final = status
        self.retry_after: Final = retry_after

    @property
    def means_down(self) -> bool:
        """Whether the server is away, rather than answering badly: 500 is said of one request, not of the next."""
        return self.kind in ("unreachable", "timeout") or self.status in _UNAVAILABLE

    @property
    def may_be_of_one(self) -> bool:
        """Whether it may fail so at this one resource, and answer for others.

        A server may also take too long for one, or break down over it and hang up.
        """
        return self.kind != "paused" and self.status not in _NOT_NOW
