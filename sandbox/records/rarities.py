"""What US Core wants said where it is known, and few records say: single elements, for the record that has them all.

US Core 6.1.0, 7.0.0 and 8.0.0, what their profiles mark as must-support or as USCDI's. `circumstances.py` writes whole
subjects, `answers.py` Observations.
"""

from __future__ import annotations

from typing import Final

from sandbox.records.directory import HOSPITAL, clinician, medication_id
from sandbox.records.encounters import Visit
from sandbox.records.problems import DAILY, FIRST_FILL
from sandbox.records.record import Record, Resource, coding, concept, instant, reference
from sandbox.records.terminology import SNOMED, TERMINOLOGY, US_CORE, Code

_NEEDED: Final = US_CORE + "us-core-interpreter-needed"
_NO: Final = Code(SNOMED, "373067005", "No")
_BY_MOUTH: Final = Code(SNOMED, "26643006", "Oral route")
_BROTHER: Final = Code(TERMINOLOGY + "v3-RoleCode", "BRO", "brother")
_IMAGE: Final = Code(TERMINOLOGY + "media-type", "image", "Image")


def write_rarities(record: Record, visit: Visit) -> None:
    """All of them; `visit` is the last one."""
    _of_the_person(record, visit)
    _of_care(record)
    _of_medicines(record, visit)
    _of_reports(record, visit)


def _first(record: Record, profile: str) -> Resource:
    """The first resource that claims the profile."""
    return next(r for r in record.resources if US_CORE + profile in r.get("meta", {}).get("profile", ()))


def _of_the_person(record: Record, visit: Visit) -> None:
    patient, illness = _first(record, "us-core-patient"), _first(record, "us-core-condition-encounter-diagnosis")
    interpreter = {"url": _NEEDED, "valueCoding": coding(_NO)}
    patient["extension"].append(interpreter)
    visit.encounter["extension"] = [interpreter]
    concern = _first(record, "us-core-condition-problems-health-concerns")
    visit.encounter["reasonReference"] = [reference(illness), reference(concern)]
    brother = {"role": [concept(_BROTHER)], "member": reference(_first(record, "us-core-relatedperson"))}
    _first(record, "us-core-careteam")["participant"].append(brother)
    _first(record, "us-core-goal")["expressedBy"] = clinician("raman")


def _of_care(record: Record) -> None:
    concern = reference(_first(record, "us-core-condition-problems-health-concerns"))
    _first(record, "us-core-allergyintolerance")["recorder"] = clinician("raman")
    _first(record, "us-core-condition-encounter-diagnosis")["recorder"] = clinician("raman")
    _first(record, "us-core-immunization")["performer"] = [{"actor": clinician("raman")}]
    _first(record, "us-core-servicerequest")["reasonReference"] = [concern]
    done = {"performer": [{"actor": clinician("delgado")}], "reasonReference": [concern]}
    _first(record, "us-core-procedure").update(done)


def _of_medicines(record: Record, visit: Visit) -> None:
    prescription = _first(record, "us-core-medicationrequest")
    by_mouth = [{**DAILY, "route": concept(_BY_MOUTH)}]
    prescription |= {"reasonCode": [{"text": "to lower the blood pressure"}], "dosageInstruction": by_mouth}
    handed_over: Resource = {
        "status": "completed",
        "medicationReference": {"reference": f"Medication/{medication_id('hypertension')}"},
        "subject": record.subject,
        "context": reference(visit.encounter),
        "performer": [{"actor": clinician("raman")}],
        "authorizingPrescription": [reference(prescription)],
        "type": concept(FIRST_FILL),
        "whenHandedOver": instant(visit.day, 11, 0),
        "dosageInstruction": by_mouth,
    }
    record.add("dispense", "MedicationDispense", handed_over, "us-core-medicationdispense")


def _of_reports(record: Record, visit: Visit) -> None:
    """Who else took part, what the report rests on, and a picture."""
    laboratory, note = _first(record, "us-core-diagnosticreport-lab"), _first(record, "us-core-diagnosticreport-note")
    for report, performer in ((laboratory, clinician("novak")), (note, HOSPITAL)):
        report["performer"] = [*report["performer"], performer]
        report["resultsInterpreter"] = [clinician("novak")]
    picture: Resource = {
        "status": "completed",
        "type": concept(_IMAGE),
        "subject": record.subject,
        "encounter": reference(visit.encounter),
        "createdDateTime": instant(visit.day, 12, 10),
        "content": {"contentType": "image/png", "title": "Drawing of what was found", "size": 0},
    }
    note["media"] = [{"comment": "as found", "link": reference(record.add("picture", "Media", picture))}]
    seen = [_first(record, f"us-core-observation-{kind}") for kind in ("lab", "clinical-result")]
    note["result"] = [*note.get("result", ()), *map(reference, seen)]
