"""Around the visits: CarePlan, Goal, CareTeam, FamilyMemberHistory, Device, Immunization, AllergyIntolerance, Appointment."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from sandbox.chart import Chart
from sandbox.courses import COMMON
from sandbox.elements import SNOMED, Code, Json, concept, narrative, reference, stamp, terminology
from sandbox.personas import Episode
from sandbox.sensitive_courses import SENSITIVE
from sandbox.terminology import (
    ADULT_VACCINES,
    ALLERGENS,
    CHILDHOOD_VACCINES,
    COVID,
    INFLUENZA,
    REACTIONS,
)
from sandbox.visits import COURSES, clinician_for

_PACEMAKER: Final = Code(SNOMED, "14106009", "Cardiac pacemaker, device (physical object)")
_PUMP: Final = Code(SNOMED, "69805005", "Insulin pump, device (physical object)")
_INHERITED: Final = ("hypertension", "diabetes", "coronary", "breast-cancer", "alcohol", "depression", "asthma")


def write_plan(chart: Chart, episode: Episode, problem: str) -> None:
    """CarePlan, Goal and CareTeam of an episode that has a goal."""
    course = COURSES[episode.course]
    if course.goal is None:
        return
    clinician = clinician_for(chart, course, chart.today)
    with chart.labelled(course.labels if episode.labelled else ()):
        goal = chart.add(
            "Goal",
            {
                "lifecycleStatus": "active",
                "description": concept(text=course.goal),
                "subject": chart.subject(),
                "startDate": (chart.today - timedelta(days=200)).isoformat(),
                "target": [{"dueDate": (chart.today + timedelta(days=165)).isoformat()}],
                "addresses": [reference(problem, course.title)],
            },
            profile="us-core-goal",
        )
        team = chart.add(
            "CareTeam",
            {
                "status": "active",
                "name": f"Care team for {course.title.lower()}",
                "subject": chart.subject(),
                "participant": [
                    {"role": [concept(clinician.specialty)], "member": reference(clinician.reference, clinician.name)},
                    {"role": [concept(text="Patient")], "member": reference(chart.patient)},
                ],
            },
            profile="us-core-careteam",
        )
        content: Json = {
            "text": narrative(f"Plan for {course.title}: {course.goal}"),
            "status": "active",
            "intent": "plan",
            "category": [
                {"coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "code": "assess-plan"}]}
            ],
            "subject": chart.subject(),
            "careTeam": [reference(team)],
            "addresses": [reference(problem, course.codes[0].display)],
            "goal": [reference(goal)],
        }
        chart.add("CarePlan", content, profile="us-core-careplan")


def write_allergies(chart: Chart) -> None:
    """AllergyIntolerance; who has none says so."""
    state = {
        "clinicalStatus": terminology("allergyintolerance-clinical", "active", "Active"),
        "verificationStatus": terminology("allergyintolerance-verification", "confirmed", "Confirmed"),
    }
    for name in chart.persona.allergies:
        code, category = ALLERGENS[name]
        content: Json = state | {
            "category": [category],
            "criticality": chart.rng.choice(("low", "high")),
            "code": concept(code, text=name.title()),
            "patient": chart.subject(),
            "onsetDateTime": str(chart.birth.year + chart.rng.randint(0, max(0, int(chart.persona.age)))),
            "reaction": [{"manifestation": [concept(chart.rng.choice(REACTIONS))], "severity": "moderate"}],
        }
        chart.add("AllergyIntolerance", content, profile="us-core-allergyintolerance")
    if not chart.persona.allergies:
        content = state | {
            "code": concept(Code(SNOMED, "716186003", "No known allergy (situation)")),
            "patient": chart.subject(),
        }
        chart.add("AllergyIntolerance", content, profile="us-core-allergyintolerance")


def write_immunizations(chart: Chart) -> None:
    """Vaccines due by age within the years of the record, and a flu shot every autumn."""
    begin = chart.today - timedelta(days=round(chart.persona.years * 365.25) + 1)
    for age, vaccine in CHILDHOOD_VACCINES + ADULT_VACCINES:
        day = chart.birth + timedelta(days=round(age * 365.25) + 2)
        if begin <= day <= chart.today:
            _immunization(chart, vaccine, day)
    for year in range(begin.year + 1, chart.today.year + 1):
        day = date(year, 10, chart.rng.randint(1, 28))
        if day < chart.today and chart.age_at(day) > 0.5 and chart.rng.random() < 0.75:
            _immunization(chart, INFLUENZA, day)
        if year in (2021, 2022) and chart.age_at(day) > 12:
            _immunization(chart, COVID, date(year, 4, chart.rng.randint(1, 28)))


def _immunization(chart: Chart, vaccine: Code, day: date) -> None:
    content: Json = {
        "status": "completed",
        "vaccineCode": concept(vaccine),
        "patient": chart.subject(),
        "occurrenceDateTime": day.isoformat(),
        "primarySource": chart.rng.random() < 0.8,
        "lotNumber": f"L{chart.rng.randint(1000, 9999)}",
    }
    if chart.rng.random() < 0.06:
        content["status"] = "not-done"
        content["statusReason"] = terminology("v3-ActReason", "PATOBJ", "patient objection")
        del content["lotNumber"]
    chart.add("Immunization", content, profile="us-core-immunization")


def write_family_history(chart: Chart) -> None:
    """Illnesses of mother and father, some of them sensitive, all of them about somebody else."""
    for code, display in (("MTH", "mother"), ("FTH", "father")):
        if chart.rng.random() < 0.3:
            continue
        course = (COMMON | SENSITIVE)[chart.rng.choice(_INHERITED)]
        chart.add(
            "FamilyMemberHistory",
            {
                "status": "completed",
                "patient": chart.subject(),
                "date": str(chart.today.year - 1),
                "relationship": terminology("v3-RoleCode", code, display),
                "condition": [{"code": concept(course.codes[-1], text=course.title), "onsetString": "in their fifties"}],
            },
        )


def write_devices(chart: Chart) -> None:
    """Device: implants and pumps."""
    for episode in chart.persona.episodes:
        kind = {"atrial-fibrillation": _PACEMAKER, "heart-failure": _PACEMAKER, "diabetes-1": _PUMP}.get(episode.course)
        if kind is None:
            continue
        serial = f"SN{chart.number:03d}77"
        content: Json = {
            "udiCarrier": [{"deviceIdentifier": f"0084400{chart.number:03d}", "carrierHRF": f"(01)0084400(21){serial}"}],
            "status": "active",
            "serialNumber": serial,
            "type": concept(kind),
            "patient": chart.subject(),
        }
        chart.add("Device", content, profile="us-core-implantable-device")
        return


def write_appointments(chart: Chart) -> None:
    """The next appointments; what for stands in codes and in words."""
    for ahead, episode in zip((17, 62), chart.persona.episodes, strict=False):
        course = COURSES[episode.course]
        day = chart.today + timedelta(days=ahead + chart.number)
        clinician = clinician_for(chart, course, day)
        with chart.labelled(course.labels if episode.labelled else ()):
            chart.add(
                "Appointment",
                {
                    "status": "booked",
                    "appointmentType": terminology("v2-0276", "FOLLOWUP", "A follow up visit"),
                    "reasonCode": [concept(course.codes[0])],
                    "description": f"Follow-up: {course.title}",
                    "start": stamp(day, 9 * 60 + chart.number * 5),
                    "end": stamp(day, 9 * 60 + chart.number * 5 + 20),
                    "participant": [
                        {"actor": chart.subject(), "status": "accepted"},
                        {"actor": reference(clinician.reference, clinician.name), "status": "accepted"},
                    ],
                },
            )
