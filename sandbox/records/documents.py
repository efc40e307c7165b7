"""Notes, letters, pictures and devices: what carries free text, attachments and sources."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from sandbox.records.directory import CLINIC, clinician
from sandbox.records.encounters import Visit
from sandbox.records.record import Record, Resource, concept, instant, reference
from sandbox.records.terminology import LOINC, OBSERVATION_CATEGORY, SNOMED, TERMINOLOGY, US_CORE, Code

_NOTE: Final = Code(LOINC, "11506-3", "Progress note")
_NOTE_CATEGORIES: Final = (
    Code(LOINC, "LP29684-5", "Radiology"),
    Code(LOINC, "LP29708-2", "Cardiology"),
    Code(LOINC, "LP7839-6", "Pathology"),
)
_CLINICAL_NOTE: Final = Code(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "clinical-note", "Clinical Note"
)
_RADIOLOGY: Final = Code(TERMINOLOGY + "v2-0074", "RAD", "Radiology")
_IMAGING: Final = Code(OBSERVATION_CATEGORY, "imaging", "Imaging")
_CHEST: Final = Code(LOINC, "36643-5", "XR Chest 2 Views")
_XRAY: Final = Code("http://dicom.nema.org/resources/ontology/DCM", "DX", "Digital Radiography")


def write_note(record: Record, visit: Visit, description: str, text: str) -> Resource:
    """A visit note as a DocumentReference, its text inside; or, for every third, in a Binary."""
    data = b64encode(text.encode()).decode()
    attachment: Resource = {"contentType": "text/plain; charset=utf-8", "title": description, "data": data}
    if record.chance(3):
        binary = record.add("binary", "Binary", {"contentType": "text/plain", "data": data})
        attachment = {"contentType": "text/plain", "title": description, "url": f"Binary/{binary['id']}"}
    elements: Resource = {
        "status": "current",
        "type": concept(_NOTE),
        "category": [concept(_CLINICAL_NOTE)],
        "subject": record.subject,
        "date": instant(visit.day, 17, 30),
        "author": [clinician("raman")],
        "description": description,
        "content": [{"attachment": attachment}],
        "context": {"encounter": [reference(visit.encounter)]},
    }
    return record.add("document", "DocumentReference", elements, "us-core-documentreference")


def write_note_report(record: Record, visit: Visit) -> None:
    """A note that the upstream keeps as a DiagnosticReport."""
    category = _NOTE_CATEGORIES[record.random.randrange(len(_NOTE_CATEGORIES))]
    record.add("report", "DiagnosticReport", _report(record, visit, category, _NOTE), "us-core-diagnosticreport-note")


def write_imaging(record: Record, visit: Visit) -> None:
    """An X-ray: the study, the finding and the report."""
    series: Resource = {"uid": f"2.25.{record.random.randint(10**9, 10**10)}", "modality": {**_coded(_XRAY)}}
    elements: Resource = {
        "status": "available",
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "started": instant(visit.day, 12, 0),
        "numberOfSeries": 1,
        "series": [series],
    }
    study = record.add("study", "ImagingStudy", elements)
    finding = record.add(
        "obs",
        "Observation",
        {
            "status": "final",
            "category": [concept(_IMAGING)],
            "code": concept(_CHEST),
            "subject": record.subject,
            "effectiveDateTime": instant(visit.day, 12, 5),
            "valueString": "clear lungs",
        },
    )
    report = _report(record, visit, _RADIOLOGY, _CHEST)
    report |= {"result": [reference(finding)], "imagingStudy": [reference(study)]}
    record.add("report", "DiagnosticReport", report, "us-core-diagnosticreport-note")


def _coded(code: Code) -> Resource:
    return {"system": code.system, "code": code.code, "display": code.display}


def _report(record: Record, visit: Visit, category: Code, code: Code) -> Resource:
    return {
        "status": "final",
        "category": [concept(category)],
        "code": concept(code),
        "subject": record.subject,
        "effectiveDateTime": instant(visit.day, 12, 0),
        "performer": [clinician("novak")],
        "conclusion": "No acute disease.",
    }


def write_device(record: Record) -> None:
    """Something worn or implanted."""
    kind = Code(SNOMED, "14106009", "Cardiac pacemaker") if record.age_on(record.some_day()) > 60 else None
    name = concept(kind) if kind else {"text": "Blood glucose meter"}
    device = record.add("device", "Device", {"status": "active", "type": name, "patient": record.subject})
    device["meta"] = {"profile": [US_CORE + "us-core-implantable-device"]} if kind else {"source": "#home"}


def write_provenance(record: Record, target: Resource) -> None:
    """Where a resource came from."""
    agent = {"who": clinician("raman"), "onBehalfOf": CLINIC}
    elements: Resource = {"target": [reference(target)], "recorded": "2026-05-04T08:00:00.000Z", "agent": [agent]}
    record.add("provenance", "Provenance", elements)
