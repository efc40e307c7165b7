"""Visits, and what a visit leaves behind in every chapter of the record; appointments still to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sandbox.records.directory import CLINIC, OFFICE, WARD, clinician
from sandbox.records.record import TODAY, Record, Resource, concept, instant, reference
from sandbox.records.terminology import SNOMED, TERMINOLOGY, Code, Illness

_ACT: Final = TERMINOLOGY + "v3-ActCode"
_CLASSES: Final = {
    "AMB": {"system": _ACT, "code": "AMB", "display": "ambulatory"},
    "IMP": {"system": _ACT, "code": "IMP", "display": "inpatient encounter"},
    "VR": {"system": _ACT, "code": "VR", "display": "virtual"},
}
_PERFORMER: Final = Code(TERMINOLOGY + "v3-ParticipationType", "PPRF", "primary performer")
_HOME: Final = Code(TERMINOLOGY + "discharge-disposition", "home", "Home")
_CHECKUP: Final = Code(SNOMED, "185349003", "Encounter for check up")
_PROBLEM: Final = Code(SNOMED, "185347001", "Encounter for problem")


@dataclass(frozen=True, slots=True)
class Visit:
    """A day at the clinic and its Encounter."""

    day: date
    encounter: Resource


def write_visits(record: Record) -> list[Visit]:
    """All visits, oldest first."""
    days = sorted(record.some_day() for _ in range(record.person.visits))
    return [write_visit(record, day) for day in days]


def write_visit(record: Record, day: date, reason: Illness | None = None, doctor: str = "raman") -> Visit:
    """One Encounter; every ninth or so is a stay in hospital, some are by video."""
    kind = "IMP" if record.chance(9) else "VR" if record.chance(7) else "AMB"
    period = {"start": instant(day, 9, 0), "end": instant(day + timedelta(days=3 * (kind == "IMP")), 16, 45)}
    elements: Resource = {
        "identifier": [{"system": "urn:assent:sandbox:visit", "value": f"{record.person.id}/{day.isoformat()}"}],
        "status": "finished",
        "class": _CLASSES[kind],
        "type": [concept(_CHECKUP if reason is None else _PROBLEM)],
        "subject": record.subject,
        "participant": [{"type": [concept(_PERFORMER)], "period": period, "individual": clinician(doctor)}],
        "period": period,
        "location": [{"location": WARD if kind == "IMP" else OFFICE}],
        "serviceProvider": CLINIC,
    }
    if kind == "IMP":
        elements["hospitalization"] = {"dischargeDisposition": concept(_HOME)}
    if reason is not None:
        elements["reasonCode"] = [concept(reason.snomed, reason.icd)]
    elif record.chance(4):
        elements["reasonCode"] = [{"text": "not feeling well, wants a check"}]
    return Visit(day, record.add("encounter", "Encounter", elements, "us-core-encounter"))


def write_appointments(record: Record) -> None:
    """The next visits, booked or proposed."""
    for number in range(1 + record.random.randrange(2)):
        day = TODAY + timedelta(days=record.random.randint(5, 120))
        actors = [
            {"actor": record.subject, "status": "accepted"},
            {"actor": clinician("raman"), "status": "accepted"},
        ]
        elements: Resource = {
            "status": "booked" if number == 0 else "proposed",
            "description": "Follow-up visit",
            "participant": actors,
        }
        if number == 0:
            elements |= {"start": instant(day, 10, 0), "end": instant(day, 10, 20), "minutesDuration": 20}
        record.add("appointment", "Appointment", elements)


def add_diagnosis(visit: Visit, condition: Resource, display: str) -> None:
    """Tell in the Encounter which problem it was about."""
    visit.encounter.setdefault("diagnosis", []).append({"condition": reference(condition, display)})
