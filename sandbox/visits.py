"""Encounters: when somebody was seen, by whom, for what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sandbox.chart import Chart
from sandbox.courses import COMMON, Course
from sandbox.directory import BY_ID, NAMES, Clinician
from sandbox.elements import ACT_CODE, Code, Json, concept, narrative, reference, stamp, terminology
from sandbox.sensitive_courses import SENSITIVE
from sandbox.terminology import (
    ADMISSION,
    ADULT_EXAM,
    CHECK_UP,
    CHILD_EXAM,
    EMERGENCY,
    ETH,
    FOLLOW_UP,
    GDIS,
    HIV,
    PSY,
    SDV,
    SEX,
    STD,
    SUD,
    SYMPTOM,
    TELEHEALTH,
    WELL_CHILD,
)

COURSES: Final = COMMON | SENSITIVE
_SPECIALISTS: Final = (
    (PSY, "dr-imani-brooks"),
    (ETH, "dr-peter-novak"),
    (SUD, "dr-peter-novak"),
    (HIV, "dr-aisha-khan"),
    (SEX, "dr-julia-marsh"),
    (STD, "dr-aisha-khan"),
    (SDV, "dr-imani-brooks"),
    (GDIS, "dr-henrik-dahl"),
)
_CLASSES: Final = {
    "AMB": "ambulatory",
    "EMER": "emergency",
    "IMP": "inpatient encounter",
    "VR": "virtual",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One encounter, as the writers of its parts need it; without a course it is a check-up."""

    index: int
    day: date
    minute: int
    clinician: Clinician
    course: Course | None
    labelled: bool
    encounter: str

    def at(self, minutes: int) -> str:
        """A time during the visit."""
        return stamp(self.day, self.minute + minutes)

    def context(self) -> Json:
        """Reference to the encounter."""
        return reference(self.encounter)


def clinician_for(chart: Chart, course: Course | None, day: date) -> Clinician:
    """Who sees a patient for a course."""
    if course is not None:
        for labels, identity in _SPECIALISTS:
            if course.labels == labels:
                return BY_ID[identity]
        if course in (COMMON["heart-failure"], COMMON["coronary"], COMMON["atrial-fibrillation"]):
            return BY_ID["dr-henrik-dahl"]
    if chart.age_at(day) < 16:
        return BY_ID["dr-ruth-adler"]
    return BY_ID[("dr-lena-hoffmann", "dr-carlos-ibarra")[chart.number % 2]]


def visit_days(chart: Chart) -> list[date]:
    """The days of the visits, oldest first, spread over the years of the record; the last is some weeks ago."""
    persona = chart.persona
    span = min(persona.years * 365, (chart.today - chart.birth).days - 1)
    step = span / persona.visits
    days = []
    for index in range(persona.visits):
        ago = span - step * index - chart.rng.uniform(0.1, 0.8) * step
        day = chart.today - timedelta(days=max(1, round(ago)))
        if day.weekday() == 6:
            day -= timedelta(days=1)
        days.append(max(day, chart.birth))
    return days


def choose_course(chart: Chart, index: int, day: date) -> tuple[Course | None, bool]:
    """What this visit is about, and whether the source labels it: every fifth is a check-up, the rest take turns."""
    active = [
        episode
        for episode in chart.persona.episodes
        if (chart.today - day).days <= episode.years * 365
        and (COURSES[episode.course].lasting or (chart.today - day).days > (episode.years - 0.8) * 365)
    ]
    if index % 5 == 0 or not active:
        return None, False
    episode = active[index % len(active)]
    return COURSES[episode.course], episode.labelled


def write_encounter(chart: Chart, index: int, day: date, course: Course | None, conditions: dict[str, str]) -> str:
    """The Encounter; it names its diagnosis in codes and in displays, as billing wants it. Returns its reference."""
    minute = chart.rng.randint(8 * 60, 16 * 60)
    clinician = clinician_for(chart, course, day)
    kind, code, length = _kind(chart, index, course, day)
    reason = course.codes if course else (CHILD_EXAM if chart.age_at(day) < 18 else ADULT_EXAM,)
    content: Json = {
        "identifier": [{"system": "urn:sandbox:visit", "value": f"V{chart.number:03d}{index:04d}"}],
        "status": "finished",
        "class": {"system": ACT_CODE, "code": kind, "display": _CLASSES[kind]},
        "type": [concept(code)],
        "subject": chart.subject(),
        "participant": [
            {
                "type": [terminology("v3-ParticipationType", "PPRF", "primary performer")],
                "period": {"start": stamp(day, minute)},
                "individual": reference(clinician.reference, clinician.name),
            }
        ],
        "period": {"start": stamp(day, minute), "end": stamp(day + timedelta(days=length), minute + 25)},
        "reasonCode": [concept(*reason, text=course.title if course else None)],
        "location": [{"location": reference(f"Location/{clinician.organization}-site")}],
        "serviceProvider": reference(f"Organization/{clinician.organization}", NAMES[clinician.organization]),
    }
    if course is not None and course.title in conditions:
        diagnosis = reference(conditions[course.title], course.codes[0].display)
        content["diagnosis"] = [{"condition": diagnosis, "use": terminology("diagnosis-role", "CC"), "rank": 1}]
    if kind == "IMP":
        content["hospitalization"] = {"dischargeDisposition": terminology("discharge-disposition", "home", "Home")}
    if index % 6 == 0:
        content = {"text": narrative(f"Visit on {day}: {course.title if course else 'check-up'}")} | content
    return chart.add("Encounter", content, profile="us-core-encounter")


def open_visit(chart: Chart, index: int, day: date, conditions: dict[str, str]) -> Visit:
    """Write the Encounter under the right labels and describe the visit to the writers of its parts."""
    course, labelled = choose_course(chart, index, day)
    with chart.labelled(course.labels if course and labelled else ()):
        encounter = write_encounter(chart, index, day, course, conditions)
    minute = int(chart.resources[-1]["period"]["start"][11:13]) * 60
    return Visit(index, day, minute, clinician_for(chart, course, day), course, labelled, encounter)


def _kind(chart: Chart, index: int, course: Course | None, day: date) -> tuple[str, Code, int]:
    """Class, type and length in days."""
    if course is None:
        return "AMB", WELL_CHILD if chart.age_at(day) < 18 else CHECK_UP, 0
    if course.imaging and not course.lasting:
        return "EMER", EMERGENCY, 0
    chance = chart.rng.random()
    if chance < 0.06 and chart.age_at(day) > 50:
        return "IMP", ADMISSION, chart.rng.randint(2, 6)
    if chance < 0.2:
        return "VR", TELEHEALTH, 0
    return "AMB", FOLLOW_UP if course.lasting else SYMPTOM, 0
