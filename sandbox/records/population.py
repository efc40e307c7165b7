"""The sandbox's population: thirty made-up patients and everything about them, from a seed alone.

The same seed gives the same resources in the same order, on any day and any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from sandbox.records.demographics import PEOPLE, Person
from sandbox.records.directory import directory
from sandbox.records.encounters import write_appointments, write_visits
from sandbox.records.observations import write_lab_panel, write_smoking_status, write_vital_signs
from sandbox.records.patients import write_patient
from sandbox.records.record import Record, Resource


def generate(seed: int = 2026) -> Iterator[dict[str, object]]:
    """Every resource of the population: the directory, then one patient after the other."""
    random = Random(seed)  # noqa: S311  chance for made-up records, nothing secret
    yield from directory()
    for person in PEOPLE:
        yield from _record_of(person, random)


def _record_of(person: Person, random: Random) -> list[Resource]:
    record = Record(person, random)
    write_patient(record)
    for visit in write_visits(record):
        write_vital_signs(record, visit)
        if record.chance(2):
            write_lab_panel(record, visit)
        if record.chance(4):
            write_smoking_status(record, visit)
    write_appointments(record)
    return record.resources
