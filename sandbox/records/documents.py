"""Notes, letters, pictures and devices: what carries free text, attachments and sources."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from sandbox.records.directory import clinician
from sandbox.records.encounters import Visit
from sandbox.records.record import Record, Resource, coding, concept, instant, reference
from sandbox.records.terminology import LOINC, OBSERVATION_CATEGORY, SNOMED, TERMINOLOGY, Code

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
_PLAIN: Final = Code("urn:ietf:rfc:3986", "urn:ihe:iti:xds:2017:mimeTypeSufficient", "mimeType Sufficient")
_CONCLUSION: Final = b64encode(b"No acute disease.").decode()
_LABEL: Final = {
    "udiCarrier": [
        {
            "deviceIdentifier": "00844588003288",
            "carrierAIDC": b64encode(b"0100844588003288").decode(),
            "carrierHRF": "(01)00844588003288(11)141231(17)350707(10)7654321D(21)10987654d321",
        }
    ],
    "distinctIdentifier": "10987654d321",
    "manufactureDate": "2014-12-31",
    "expirationDate": "2035-07-07",
    "lotNumber": "7654321D",
    "serialNumber": "10987654d321",
}
_CHEST: Final = Code(LOINC, "36643-5", "XR Chest 2 Views")
_XRAY: Final = Code("http://dicom.nema.org/resources/ontology/DCM", "DX", "Digital Radiography")


def write_note(record: Record, visit: Visit, description: str, text: str) -> Resource:
    """A visit note as a DocumentReference, its text inside; or, for every third, in a Binary."""
    data = b64encode(text.encode()).decode()
    attachment: Resource = {"contentType": "text/plain; charset=utf-8", "title": description, "data": data}
    if record.chance(3):
        binary = record.add("binary", "Binary", {"contentType": "text/plain", "data": data})
        attachment = {"contentType": "text/plain", "title": description, "url": f"Binary/{binary['id']}"}
    written = instant(visit.day, 17, 30)
    elements: Resource = {
        "identifier": [
            {"system": "urn:assent:sandbox:note", "value": f"{visit.encounter['id']}/{record.written('document')}"}
        ],
        "status": "current",
        "type": concept(_NOTE),
        "category": [concept(_CLINICAL_NOTE)],
        "subject": record.subject,
        "date": written,
        "author": [clinician("raman")],
        "description": description,
        "content": [{"attachment": attachment, "format": coding(_PLAIN)}],
        "context": {"encounter": [reference(visit.encounter)], "period": {"start": instant(visit.day), "end": written}},
    }
    return record.add("document", "DocumentReference", elements, "us-core-documentreference")


def write_note_report(record: Record, visit: Visit, result: Resource | None = None) -> None:
    """A note that the upstream keeps as a DiagnosticReport; `result`: an Observation on which it rests."""
    category = _NOTE_CATEGORIES[record.random.randrange(len(_NOTE_CATEGORIES))]
    report = _report(record, visit, category, _NOTE)
    if result is not None:
        report["result"] = [reference(result)]
    record.add("report", "DiagnosticReport", report, "us-core-diagnosticreport-note")


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
        "encounter": reference(visit.encounter),
        "effectiveDateTime": instant(visit.day, 12, 0),
        "issued": instant(visit.day, 15, 0),
        "performer": [clinician("novak")],
        "conclusion": "No acute disease.",
        "presentedForm": [{"contentType": "text/plain; charset=utf-8", "data": _CONCLUSION}],
    }


def write_device(record: Record) -> None:
    """Something worn or implanted."""
    kind = Code(SNOMED, "14106009", "Cardiac pacemaker") if record.age_on(record.some_day()) > 60 else None
    if kind:
        write_implant(record, kind)
        return
    device = record.add(
        "device", "Device", {"status": "active", "type": {"text": "Blood glucose meter"}, "patient": record.subject}
    )
    device["meta"] = {"source": "#home"}


def write_implant(record: Record, kind: Code) -> None:
    """Something implanted, with what its label says."""
    device = {**_LABEL, "status": "active", "type": concept(kind), "patient": record.subject}
    record.add("device", "Device", device, "us-core-implantable-device")
