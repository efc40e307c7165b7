"""What a course puts into a record: Condition, MedicationRequest, MedicationStatement, Procedure."""

from __future__ import annotations

from typing import Final

from sandbox.chart import Chart
from sandbox.courses import Course
from sandbox.directory import REFERRED, medication
from sandbox.elements import Json, concept, narrative, reference, terminology, years_before
from sandbox.formulary import DRUGS
from sandbox.personas import Episode
from sandbox.visits import COURSES, Visit, clinician_for

_HEALTH_CONCERN: Final = {
    "coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/condition-category", "code": "health-concern"}]
}


def write_problem(chart: Chart, episode: Episode) -> str:
    """The problem-list Condition of an episode; returns its reference."""
    course = COURSES[episode.course]
    onset = max(years_before(chart.today, episode.years), chart.birth)
    clinician = clinician_for(chart, course, onset)
    state = "active" if course.lasting else "resolved"
    content: Json = {
        "clinicalStatus": terminology("condition-clinical", state, state.title()),
        "verificationStatus": terminology("condition-ver-status", "confirmed", "Confirmed"),
        "category": [terminology("condition-category", "problem-list-item", "Problem List Item")],
        "code": concept(*course.codes, text=course.title),
        "subject": chart.subject(),
        # Old onsets are remembered by the month only.
        "onsetDateTime": onset.isoformat()[: 7 if episode.years > 4 else 10],
        "recordedDate": onset.isoformat(),
        "recorder": reference(clinician.reference, clinician.name),
        "note": [{"text": course.note}],
    }
    if state == "resolved":
        content["abatementString"] = "after treatment"
    if chart.rng.random() < 0.4:
        content = {"text": narrative(f"{course.title} ({course.codes[0].display}) since {onset.year}")} | content
    with chart.labelled(course.labels if episode.labelled else ()):
        return chart.add("Condition", content, profile="us-core-condition-problems-health-concerns")


def write_visit_diagnosis(chart: Chart, visit: Visit) -> str | None:
    """The encounter-diagnosis Condition of a visit, when it has a course."""
    if visit.course is None:
        return None
    course = visit.course
    content: Json = {
        "clinicalStatus": terminology("condition-clinical", "active", "Active"),
        "verificationStatus": terminology("condition-ver-status", "confirmed", "Confirmed"),
        "category": [terminology("condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
        "code": concept(course.codes[0], text=course.title),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "onsetDateTime": visit.day.isoformat(),
        "recordedDate": visit.day.isoformat(),
    }
    return chart.add("Condition", content, profile="us-core-condition-encounter-diagnosis")


def write_concern(chart: Chart, text: str) -> str:
    """A health concern in the patient's own words, without a code."""
    content: Json = {
        "clinicalStatus": terminology("condition-clinical", "active", "Active"),
        "category": [_HEALTH_CONCERN],
        "code": concept(text=text),
        "subject": chart.subject(),
        "recordedDate": chart.today.isoformat()[:7],
    }
    return chart.add("Condition", content, profile="us-core-condition-problems-health-concerns")


def write_prescriptions(chart: Chart, visit: Visit, problem: str | None) -> list[str]:
    """Renewals at a visit: every second one for each medicine of the course, the first at the first."""
    course = visit.course
    if course is None:
        return []
    drugs = course.drugs if visit.index % 2 == 0 else course.drugs[:1]
    return [_prescription(chart, visit, course, name, problem) for name in drugs]


def _prescription(chart: Chart, visit: Visit, course: Course, name: str, problem: str | None) -> str:
    drug = DRUGS[name]
    old = (chart.today - visit.day).days > 400
    content: Json = {"status": "completed" if old else "active", "intent": "order"}
    way = chart.rng.random()
    if name in REFERRED and way < 0.4:
        shown = drug.code.display if chart.rng.random() < 0.7 else None
        content["medicationReference"] = reference(f"Medication/med-{name}", shown)
    elif way < 0.55:
        content = {"contained": [medication("med", name)]} | content
        content["medicationReference"] = reference("#med")
    else:
        content["medicationCodeableConcept"] = concept(drug.code, text=drug.code.display)
    content |= {
        "subject": chart.subject(),
        "encounter": visit.context(),
        "authoredOn": visit.at(20),
        "requester": reference(visit.clinician.reference, visit.clinician.name),
    }
    if problem is not None:
        content["reasonReference"] = [reference(problem, course.title)]
    elif course.codes:
        content["reasonCode"] = [concept(course.codes[0])]
    content["dosageInstruction"] = [{"text": drug.dosage}]
    content["dispenseRequest"] = {"numberOfRepeatsAllowed": chart.rng.randint(0, 5)}
    return chart.add("MedicationRequest", content, profile="us-core-medicationrequest")


def write_statement(chart: Chart, visit: Visit, name: str) -> str:
    """What the patient says to be taking."""
    drug = DRUGS[name]
    return chart.add(
        "MedicationStatement",
        {
            "status": "active",
            "medicationCodeableConcept": concept(drug.code),
            "subject": chart.subject(),
            "effectivePeriod": {"start": str(visit.day.year)},
            "dateAsserted": visit.day.isoformat(),
            "informationSource": reference(chart.patient),
            "dosage": [{"text": drug.dosage}],
        },
    )


def write_procedure(chart: Chart, visit: Visit) -> str | None:
    """The procedure that goes with the course of a visit."""
    course = visit.course
    if course is None or course.procedure is None:
        return None
    content: Json = {
        "status": "completed",
        "code": concept(course.procedure, text=course.procedure.display.partition(" (")[0]),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "performedPeriod": {"start": visit.at(10), "end": visit.at(40)},
        "performer": [{"actor": reference(visit.clinician.reference, visit.clinician.name)}],
        "reasonCode": [concept(course.codes[-1])],
    }
    return chart.add("Procedure", content, profile="us-core-procedure")
