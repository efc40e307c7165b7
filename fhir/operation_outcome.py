"""How a refusal is said in FHIR: one OperationOutcome with one issue (FHIR R4 §2.42)."""

from __future__ import annotations

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


def operation_outcome(code: str, text: str, *, severity: str = "error", expression: tuple[str, ...] = ()) -> bytes:
    """JSON of an OperationOutcome.

    `code` is from http://hl7.org/fhir/issue-type, `text` is for the caller to read, `expression` names the elements
    or parameters at fault, as FHIRPath. Raises ValueError for a code or severity that R4 has not.
    """
    if code not in ISSUE_TYPES:
        raise ValueError(f"`{code}` is not a FHIR issue type, name one of `ISSUE_TYPES`")
    if severity not in _SEVERITIES:
        raise ValueError(f"`{severity}` is not a FHIR issue severity")
    issue: dict[str, object] = {"severity": severity, "code": code, "diagnostics": text}
    if expression:
        issue["expression"] = list(expression)
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue]})
