"""How a refusal is said in FHIR: one OperationOutcome with one issue (FHIR R4 §2.42)."""

from __future__ import annotations

import msgspec


def operation_outcome(code: str, text: str, *, severity: str = "error", expression: tuple[str, ...] = ()) -> bytes:
    """JSON of an OperationOutcome.

    `code` is from http://hl7.org/fhir/issue-type, `text` is for the caller to read, `expression` names the elements
    or parameters at fault, as FHIRPath.
    """
    issue: dict[str, object] = {"severity": severity, "code": code, "diagnostics": text}
    if expression:
        issue["expression"] = list(expression)
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue]})
