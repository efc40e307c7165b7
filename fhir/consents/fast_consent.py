"""What HL7's Scalable Consent Management (FAST, 1.0.0-ballot) asks of a Consent that is filed, and of its document.

Profiles FASTConsent, FASTReference and FASTDocumentReference, and the statement that a filed consent is active. Only
what goes beyond R4 and beyond what `fhir.consents.check` asks of every Consent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fhir.r4.operation_outcome import Issue

_Json = Mapping[str, object]
_BASE: Final = "http://hl7.org/fhir/us/consent-management"
OPERATIONS: Final[Mapping[str, str]] = {
    "fileConsent": f"{_BASE}/OperationDefinition/file-consent",
    "revokeConsent": f"{_BASE}/OperationDefinition/revoke-consent",
}
DOCUMENT_TYPES: Final = ("DocumentReference", "QuestionnaireResponse")
_PRIVACY: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_LOINC: Final = "http://loinc.org"
_KINDS: Final = frozenset({(_LOINC, "64292-6"), (_LOINC, "59284-0")})
_CATEGORY: Final = (_LOINC, "57016-8")


def consent_issues(consent: _Json) -> Iterator[Issue]:
    """What stands against filing a Consent."""
    if consent.get("status") != "active":
        yield Issue("business-rule", "a consent that is filed is `active`", ("Consent.status",))
    if _PRIVACY not in _codes(consent.get("scope")):
        yield _issue("value", "must be `patient-privacy`", "scope")
    for name in ("identifier", "patient", "dateTime", "performer", "provision", "sourceReference"):
        if name not in consent:
            yield _issue("required", "is missing", name.removesuffix("Reference"))
    if "organization" in consent:
        yield _issue("structure", "is not allowed", "organization")
    for place, reference in (("patient", consent.get("patient")), *_numbered("performer", consent.get("performer"))):
        if reference is not None and "identifier" not in _object(reference):
            yield _issue("required", "is missing", f"{place}.identifier")
    for place, policy in _numbered("policy", consent.get("policy")):
        if "uri" not in policy:
            yield _issue("required", "is missing", f"{place}.uri")
    root = _object(consent.get("provision"))
    if root and "type" not in root:
        yield _issue("required", "is missing", "provision.type")
    for place, nested in _numbered("provision.provision", root.get("provision")):
        if "provision" in nested:
            yield _issue("structure", "is not allowed", f"{place}.provision")


def document_issues(document: _Json, place: str) -> Iterator[Issue]:
    """What stands against a document; `place` is where it was given, as FHIRPath."""
    kind = document.get("resourceType")
    if kind not in DOCUMENT_TYPES:
        yield Issue("value", f"must be a {' or a '.join(DOCUMENT_TYPES)}", (place,))
    if "subject" not in document:
        yield Issue("required", "must say whom the document is about", (f"{place}.subject",))
    if kind != "DocumentReference":
        return
    if _KINDS.isdisjoint(_codes(document.get("type"))):
        yield Issue("value", "must be a consent document: LOINC 64292-6 or 59284-0", (f"{place}.type",))
    if not any(_CATEGORY in _codes(category) for _, category in _numbered("", document.get("category"))):
        yield Issue("value", "must have LOINC 57016-8", (f"{place}.category",))


def _issue(code: str, text: str, path: str) -> Issue:
    return Issue(code, f"{text} in FASTConsent, as `$fileConsent` takes it", (f"Consent.{path}",))


def _codes(concept: object) -> set[tuple[str, str]]:
    listed = _numbered("", _object(concept).get("coding"))
    pairs = ((c.get("system"), c.get("code")) for _, c in listed)
    return {(system, code) for system, code in pairs if isinstance(system, str) and isinstance(code, str)}


def _numbered(name: str, value: object) -> list[tuple[str, _Json]]:
    items = value if isinstance(value, list) else []
    return [(f"{name}[{i}]", item) for i, item in enumerate(items) if isinstance(item, dict)]


def _object(value: object) -> _Json:
    return value if isinstance(value, dict) else {}
