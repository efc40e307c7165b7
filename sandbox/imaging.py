"""Imaging: ImagingStudy, its DiagnosticReport, and imaging and procedure Observations."""

from __future__ import annotations

from typing import Final, NamedTuple

from sandbox.chart import Chart
from sandbox.elements import Code, Json, coding, concept, quantity, reference, terminology
from sandbox.lab_tests import loinc
from sandbox.visits import Visit

IMAGING: Final = terminology("observation-category", "imaging", "Imaging")
PROCEDURE: Final = terminology("observation-category", "procedure", "Procedure")
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"


class Study(NamedTuple):
    """A kind of imaging study."""

    code: Code
    modality: Code
    section: str
    finding: str


STUDIES: Final = {
    "chest": Study(
        loinc("36643-5", "XR Chest 2 Views"),
        Code(_DICOM, "DX", "Digital Radiography"),
        "RAD",
        "Lungs clear, heart size normal.",
    ),
    "knee": Study(
        loinc("36297-0", "XR Knee Views"),
        Code(_DICOM, "DX", "Digital Radiography"),
        "RAD",
        "Joint space narrowed on the inner side.",
    ),
    "wrist": Study(
        loinc("37340-7", "XR Wrist Views"),
        Code(_DICOM, "DX", "Digital Radiography"),
        "RAD",
        "Fracture of the distal radius in good position.",
    ),
    "mammogram": Study(
        loinc("24606-6", "MG Breast Screening"), Code(_DICOM, "MG", "Mammography"), "IMG", "No suspicious mass."
    ),
    "obstetric": Study(
        loinc("11525-3", "US Pelvis Fetus for pregnancy"),
        Code(_DICOM, "US", "Ultrasound"),
        "OUS",
        "Single living fetus, growth as expected.",
    ),
}


def write_imaging(chart: Chart, visit: Visit, name: str) -> None:
    """A study, what was seen in it, and its report."""
    study = STUDIES[name]
    images = _study(chart, visit, study)
    finding = chart.add(
        "Observation",
        {
            "status": "final",
            "category": [IMAGING],
            "code": concept(loinc("59776-5", "Procedure findings Narrative")),
            "subject": chart.subject(),
            "encounter": visit.context(),
            "effectiveDateTime": visit.at(30),
            "valueString": study.finding,
        },
        profile="us-core-observation-clinical-result",
    )
    content: Json = {
        "status": "final",
        # A local section code that no catalogue knows (obstetric ultrasound) is as real as the others.
        "category": [terminology("v2-0074", study.section, "Radiology"), concept(loinc("LP29684-5", "Radiology"))],
        "code": concept(study.code),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(30),
        "issued": visit.at(180),
        "performer": [reference("Organization/lakeview-hospital", "Lakeview Hospital")],
        "result": [reference(finding)],
        "imagingStudy": [reference(images)],
        "conclusion": study.finding,
    }
    chart.add("DiagnosticReport", content, profile="us-core-diagnosticreport-note")


def _study(chart: Chart, visit: Visit, study: Study) -> str:
    root = f"1.2.840.99999.{chart.number}.{visit.index}"
    return chart.add(
        "ImagingStudy",
        {
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{root}"}],
            "status": "available",
            "modality": [coding(study.modality)],
            "subject": chart.subject(),
            "encounter": visit.context(),
            "started": visit.at(20),
            "numberOfSeries": 1,
            "numberOfInstances": 2,
            "description": study.code.display,
            "series": [
                {"uid": f"{root}.1", "number": 1, "modality": coding(study.modality), "numberOfInstances": 2},
            ],
        },
    )


def write_procedure_finding(chart: Chart, visit: Visit, procedure: str) -> str:
    """A finding made during a procedure, with the smallest of numbers."""
    return chart.add(
        "Observation",
        {
            "partOf": [reference(procedure)],
            "status": "final",
            "category": [PROCEDURE],
            "code": concept(loinc("55103-6", "Surgical procedure estimated blood loss")),
            "subject": chart.subject(),
            "encounter": visit.context(),
            "effectiveDateTime": visit.at(35),
            "valueQuantity": quantity(chart.decimal("0.0010", "0.0400"), "mL"),
        },
        profile="us-core-observation-clinical-result",
    )
