"""Where resources came from: one Provenance for each type in a record (US Core, "Basic Provenance")."""

from __future__ import annotations

from typing import Final

from sandbox.records.demographics import COMPLETE
from sandbox.records.directory import CLINIC, HOSPITAL, clinician
from sandbox.records.record import Record, Resource, concept, reference
from sandbox.records.terminology import TERMINOLOGY, Code

_AUTHOR: Final = Code(TERMINOLOGY + "provenance-participant-type", "author", "Author")
_TRANSMITTER: Final = Code(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type", "transmitter", "Transmitter"
)
_NONE: Final = frozenset({"Binary", "Provenance"})


def write_origins(record: Record) -> None:
    """Of the first resource of each type that isn't labelled, who wrote it and which clinic sent it.

    In the complete record, of each profile and category.
    """
    first: dict[str, Resource] = {}
    for resource in record.resources:
        meta = resource.get("meta", {})
        if resource["resourceType"] not in _NONE and "security" not in meta:
            kind = f"{meta.get('profile')} {resource.get('category')}" if record.person.id == COMPLETE else ""
            first.setdefault(f"{resource['resourceType']} {kind}", resource)
    for resource in first.values():
        write_origin(record, resource)


def write_origin(record: Record, target: Resource) -> None:
    """Where a resource came from. It names the patient too: who reads it by itself can tell whose it is."""
    registered = target["resourceType"] == "Patient"  # at the desk, by the hospital to which the clinic belongs
    author = {"who": CLINIC} if registered else {"who": clinician("raman"), "onBehalfOf": CLINIC}
    sender = {"who": CLINIC, "onBehalfOf": HOSPITAL} if registered else {"who": CLINIC}
    agents = [{"type": concept(_AUTHOR), **author}, {"type": concept(_TRANSMITTER), **sender}]
    about = [reference(target), *([] if registered else [record.subject])]
    elements: Resource = {"target": about, "recorded": "2026-05-04T08:00:00.000Z", "agent": agents}
    record.add("provenance", "Provenance", elements, "us-core-provenance")
