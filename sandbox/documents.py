"""Clinical notes: DocumentReference with the text inside or in a Binary, and note-type DiagnosticReport."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from sandbox.chart import Chart
from sandbox.elements import Code, Json, concept, narrative, reference, stamp
from sandbox.lab_tests import loinc
from sandbox.terminology import PSYTHPN
from sandbox.visits import Visit

_PROGRESS: Final = loinc("11506-3", "Progress note")
_DISCHARGE: Final = loinc("18842-5", "Discharge summary")
_CONSULT: Final = loinc("11488-4", "Consult note")
_MENTAL: Final = loinc("28635-1", "Psychiatry Initial evaluation note")
_CATEGORY: Final = {
    "coding": [
        {
            "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
            "code": "clinical-note",
            "display": "Clinical Note",
        }
    ]
}


def write_note(chart: Chart, visit: Visit) -> str:
    """The note of a visit. Its text says everything in words; every fourth is kept in a Binary."""
    code = _note_code(visit)
    content: Json = {
        "status": "current",
        "docStatus": "final",
        "type": concept(code),
        "category": [_CATEGORY],
        "subject": chart.subject(),
        "date": visit.at(60),
        "author": [reference(visit.clinician.reference, visit.clinician.name)],
        "custodian": reference(f"Organization/{visit.clinician.organization}"),
    }
    if visit.course is not None:
        content["description"] = f"{code.display}: {visit.course.title}, {visit.day.isoformat()}"
    content["content"] = [_content(chart, visit, _text(chart, visit))]
    content["context"] = {"encounter": [visit.context()], "period": {"start": visit.at(0), "end": visit.at(25)}}
    if visit.index % 7 == 3:
        content = {"text": narrative(_text(chart, visit))} | content
    return chart.add("DocumentReference", content, profile="us-core-documentreference")


def _note_code(visit: Visit) -> Code:
    if visit.course is not None and visit.clinician.id == "dr-imani-brooks" and visit.index % 3 == 0:
        return _MENTAL
    return (_PROGRESS, _PROGRESS, _CONSULT, _PROGRESS, _DISCHARGE)[visit.index % 5]


def _content(chart: Chart, visit: Visit, text: str) -> Json:
    data = b64encode(text.encode()).decode()
    attachment: Json = {"contentType": "text/plain; charset=utf-8", "title": f"Visit of {visit.day.isoformat()}"}
    if visit.index % 4 == 1:
        binary = {"contentType": "text/plain", "securityContext": reference(chart.patient), "data": data}
        attachment["url"] = chart.add("Binary", binary)
    else:
        attachment["data"] = data
    attachment["creation"] = visit.at(60)
    return {
        "attachment": attachment,
        "format": {
            "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
            "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
            "display": "mimeType Sufficient",
        },
    }


def _text(chart: Chart, visit: Visit) -> str:
    about = visit.course.title if visit.course else "Check-up"
    finding = visit.course.note if visit.course else "No complaints. Vaccines and screening up to date."
    drugs = f" Medicines: {', '.join(visit.course.drugs)}." if visit.course and visit.course.drugs else ""
    return (
        f"{chart.persona.name}, born {chart.birth.isoformat()}, seen on {visit.day.isoformat()} by "
        f"{visit.clinician.name}.\nAbout: {about}.\n{finding}{drugs}\nReturn as agreed.\n"
    )


def write_note_report(chart: Chart, visit: Visit) -> str:
    """A note that its system sends as a DiagnosticReport (US Core: report and note exchange)."""
    content: Json = {
        "status": "final",
        "category": [concept(loinc("LP29708-2", "Cardiology") if visit.course else loinc("11506-3", "Progress note"))],
        "code": concept(_CONSULT),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(0),
        "issued": stamp(visit.day, visit.minute + 120),
        "performer": [reference(visit.clinician.reference)],
    }
    if visit.course is not None:
        content["conclusion"] = visit.course.note
        content["conclusionCode"] = [concept(*visit.course.codes)]
    text = b64encode(_text(chart, visit).encode()).decode()
    content["presentedForm"] = [{"contentType": "text/plain", "data": text, "title": f"Letter about {chart.persona.name}"}]
    return chart.add("DiagnosticReport", content, profile="us-core-diagnosticreport-note")


def write_therapy_note(chart: Chart, visit: Visit) -> str:
    """A psychotherapy note: nothing in it tells what it is but its label."""
    with chart.labelled(PSYTHPN):
        return chart.add(
            "DocumentReference",
            {
                "status": "current",
                "type": concept(text="Session note"),
                "category": [_CATEGORY],
                "subject": chart.subject(),
                "date": visit.at(70),
                "author": [reference(visit.clinician.reference)],
                "content": [
                    {
                        "attachment": {
                            "contentType": "text/plain",
                            "data": b64encode("Spoke about the father's death and the guilt since.".encode()).decode(),
                        }
                    }
                ],
            },
        )
