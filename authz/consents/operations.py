"""`$fileConsent` and `$revokeConsent` of HL7's Scalable Consent Management (FAST, 1.0.0-ballot), for recorders.

Filing creates a Consent and keeps its document inside it. Revoking sets its status to `inactive` and keeps the document
with the Provenance of that version. Both go by `authz.consents.transitions`, so with the checks and the records of any
other write. The guide names patients by identifiers, consents decide by `Patient/<id>`: the upstream is asked whose an
identifier is, and one that isn't one patient's is refused (docs/decisions/0029-consent-formats.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from authz.consents.operation_body import Document, read_filing, read_revoking
from authz.consents.recorders import Recorder
from authz.consents.transitions import ConsentRefused, ConsentTransitions, Holds, Target
from fhir.consents.check import MAX_CONSENT, document_findings, patient_of
from fhir.consents.fast_consent import consent_issues, document_issues
from fhir.consents.patient_lookup import PatientLookup
from fhir.r4.operation_outcome import Issue
from fhir.r4.resource_body import content_of, encode_body, top_level
from fhir.store.repository import StoredResource

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_SPECIAL: Final = re.compile(r"([\\,|$])")
_SERVERS_OWN: Final = ("versionId", "lastUpdated")
_SOURCE: Final = "Consent.source"


class ConsentOperations:
    """The use cases behind the two operations."""

    def __init__(self, transitions: ConsentTransitions, patients: PatientLookup, base: str) -> None:
        self._transitions = transitions
        self._patients = patients
        self._base = base

    async def file(self, by: Recorder, body: bytes, request_id: str) -> StoredResource:
        """Version 1 of the Consent, its document contained. Raises ConsentRefused, and what `PatientLookup` raises."""
        filing = read_filing(body)
        consent, document = filing.consent, filing.document
        found = (*consent_issues(consent), *document_issues(document.content, document.place))
        if found:
            raise ConsentRefused(422, *found)
        patient = await self._patient(consent["patient"], "Consent.patient")
        consent["patient"]["reference"] = f"Patient/{patient}"
        _check_subject(document, consent["patient"])
        _contain(consent, document)
        whole = _encoded(consent)
        if len(whole) > MAX_CONSENT:
            text = f"a Consent with its document may have at most {MAX_CONSENT} bytes"
            raise ConsentRefused(413, Issue("too-long", text))
        return (await self._transitions.create(by, whole, request_id)).stored

    async def revoke(self, by: Recorder, holds: Holds, body: bytes, request_id: str) -> StoredResource | None:
        """The version that is inactive; None when there is no such consent. Raises as `file`."""
        revoking = read_revoking(body, self._base)
        named, document = revoking.patient, revoking.document
        patient = await self._patient(named, revoking.patient_place)
        source = None
        if document is not None:
            if found := tuple(document_issues(document.content, document.place)):
                raise ConsentRefused(422, *found)
            _check_subject(document, {**named, "reference": f"Patient/{patient}"})
            source = _as_contained(document)
            _check_contained(source, document.place)

        def change(current: StoredResource) -> bytes:
            before = content_of(current.body)
            if patient_of(before) != patient:
                text = "the consent isn't this patient's"
                raise ConsentRefused(422, Issue("business-rule", text, (revoking.patient_place,)))
            if before["status"] != "active":
                text = "the consent isn't active, so there is nothing to revoke"
                raise ConsentRefused(422, Issue("business-rule", text, ("Consent.status",)))
            return encode_body({**top_level(current.body), "status": "inactive"})

        target = Target(revoking.consent_id)
        return await self._transitions.update(by, target, holds, change, request_id, source)

    async def _patient(self, reference: Mapping[str, Any], place: str) -> str:
        """Logical id of the one patient whom a Reference names: its identifier and its literal must agree."""
        literal = reference.get("reference")
        if "identifier" not in reference and isinstance(literal, str) and literal.startswith("Patient/"):
            return literal.removeprefix("Patient/")
        ids = await self._patients.by_identifier(_token(reference, place))
        if len(set(ids)) != 1:
            code, text = ("not-found", "no patient has") if not ids else ("multiple-matches", "several patients have")
            raise ConsentRefused(422, Issue(code, f"{text} the identifier", (f"{place}.identifier",)))
        if literal is not None and literal != f"Patient/{ids[0]}":
            text = "the reference and the identifier don't name the same patient"
            raise ConsentRefused(422, Issue("business-rule", text, (place,)))
        return ids[0]


def _token(reference: Mapping[str, Any], place: str) -> str:
    """The identifier of a Reference as a search takes it (FHIR R4 §3.1.1.4.1, escapes). Raises ConsentRefused."""
    identifier = reference.get("identifier")
    given = identifier if isinstance(identifier, dict) else {}
    parts = (given.get("system"), given.get("value"))
    if not all(isinstance(part, str) and part and "\x00" not in part for part in parts):
        text = "the patient must be named by an identifier with `system` and `value`"
        raise ConsentRefused(422, Issue("value", text, (f"{place}.identifier",)))
    return "|".join(_SPECIAL.sub(r"\\\1", str(part)) for part in parts)


def _check_subject(document: Document, patient: Mapping[str, Any]) -> None:
    """A document is about the consent's patient: by the same identifier or the same literal, and not by another one."""
    subject = document.content.get("subject")
    given = subject if isinstance(subject, dict) else {}
    same = [_identity(given) == _identity(patient) != (None, None)] if "identifier" in given else []
    same += [given["reference"] == patient["reference"]] if "reference" in given else []
    if not same or not all(same):
        text = "the document must be about the patient of the consent, named as the consent names them"
        raise ConsentRefused(422, Issue("business-rule", text, (f"{document.place}.subject",)))


def _identity(reference: Mapping[str, Any]) -> tuple[object, object]:
    identifier = reference.get("identifier")
    return (identifier.get("system"), identifier.get("value")) if isinstance(identifier, dict) else (None, None)


def _contain(consent: dict[str, Any], document: Document) -> None:
    """Keep the document in the Consent that it is the source of. Raises ConsentRefused."""
    content, source = document.content, consent["sourceReference"]
    literal = source.get("reference") if isinstance(source, dict) else None
    if literal != f"{content['resourceType']}/{content.get('id')}":
        text = "must be a reference to the document that comes along, `<type>/<id>`"
        raise ConsentRefused(422, Issue("value", text, (_SOURCE,)))
    inner = _as_contained(document)
    others = consent.get("contained", [])
    if not isinstance(others, list) or any(isinstance(o, dict) and o.get("id") == inner["id"] for o in others):
        raise ConsentRefused(422, Issue("duplicate", "has the id of the document already", ("Consent.contained",)))
    source["reference"] = f"#{inner['id']}"
    consent["contained"] = [*others, inner]


def _as_contained(document: Document) -> dict[str, Any]:
    """The document as FHIR R4 dom-4 has it inside another resource: without a version of its own."""
    content = {"id": "document", **document.content}
    if not isinstance(content["id"], str) or _ID.fullmatch(content["id"]) is None:
        raise ConsentRefused(400, Issue("value", "is no FHIR id", (f"{document.place}.id",)))
    meta = content.get("meta")
    if isinstance(meta, dict):
        content["meta"] = {name: value for name, value in meta.items() if name not in _SERVERS_OWN}
        if not content["meta"]:
            del content["meta"]
    return content


def _check_contained(content: dict[str, Any], place: str) -> None:
    """What is asked of a document in a Consent, of one that stands elsewhere. Raises ConsentRefused."""
    try:
        found = document_findings(content, place)
    except RecursionError:
        raise _too_deep() from None
    if found.issues:
        raise ConsentRefused(400 if found.shapeless else 422, *found.issues)


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return encode_body(content)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> ConsentRefused:
    return ConsentRefused(422, Issue("too-costly", "the resource is nested too deeply"))
