"""How a refusal is said in FHIR: an OperationOutcome, most often with one issue (FHIR R4 §2.42)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

# fmt: off
ISSUE_TYPES: Final = frozenset({
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired", "forbidden",
    "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long",
    "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store",
    "exception", "timeout", "incomplete", "throttled", "informational",
})
# fmt: on
"""The codes of http://hl7.org/fhir/issue-type in R4."""
_SEVERITIES: Final = frozenset({"fatal", "error", "warning", "information"})


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue, its members as `operation_outcome` takes them. Raises ValueError as it does."""

    code: str
    text: str
    expression: tuple[str, ...] = ()
    severity: str = "error"

    def __post_init__(self) -> None:
        if self.code not in ISSUE_TYPES:
            raise ValueError(f"`{self.code}` is not a FHIR issue type, name one of `ISSUE_TYPES`")
        if self.severity not in _SEVERITIES:
            raise ValueError(f"`{self.severity}` is not a FHIR issue severity")

    def as_json(self) -> dict[str, object]:
        """The issue's members."""
        issue: dict[str, object] = {"severity": self.severity, "code": self.code, "diagnostics": self.text}
        return {**issue, "expression": list(self.expression)} if self.expression else issue


def operation_outcome(code: str, text: str, *, severity: str = "error", expression: tuple[str, ...] = ()) -> bytes:
    """JSON of an OperationOutcome.

    `code` is from http://hl7.org/fhir/issue-type, `text` is for the caller to read, `expression` names the elements
    or parameters at fault, as FHIRPath. Raises ValueError for a code or severity that R4 has not.
    """
    return outcome_of([Issue(code, text, expression, severity)])


def outcome_of(issues: Sequence[Issue]) -> bytes:
    """JSON of an OperationOutcome with these issues, of which there must be one."""
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue.as_json() for issue in issues]})
