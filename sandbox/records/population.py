"""The sandbox's population: thirty made-up patients and everything about them, from a seed alone.

The same seed gives the same resources in the same order, on any day and any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from sandbox.records.answers import write_answers
from sandbox.records.circumstances import write_circumstances
from sandbox.records.cohorts import cohorts
from sandbox.records.demographics import COMPLETE, PEOPLE, Person
from sandbox.records.directory import directory
from sandbox.records.documents import write_device, write_imaging, write_note, write_note_report
from sandbox.records.encounters import Visit, write_appointments, write_visits
from sandbox.records.growth import write_growth
from sandbox.records.observations import write_lab_panel, write_smoking_status, write_vital_signs
from sandbox.records.oddities import write_oddities
from sandbox.records.origins import write_origins
from sandbox.records.patients import write_patient
from sandbox.records.plans import write_care, write_claim, write_coverage, write_family
from sandbox.records.problems import (
    write_acute,
    write_allergy,
    write_chronic,
    write_immunization,
    write_procedure,
    write_refused_immunization,
    write_visit_problem,
)
from sandbox.records.rarities import write_rarities
from sandbox.records.record import Record, Resource
from sandbox.records.stories import tell
from sandbox.records.terminology import ILLNESSES


def generate(seed: int = 2026) -> Iterator[dict[str, object]]:
    """Every resource of the population: the directory, then one patient after the other."""
    random = Random(seed)  # noqa: S311  chance for made-up records, nothing secret
    yield from directory()
    for person in PEOPLE:
        yield from _record_of(person, random, Random(f"{seed} {person.id}"))  # noqa: S311
    yield from cohorts(PEOPLE)


def _record_of(person: Person, random: Random, own: Random) -> list[Resource]:
    """`own`: chance for what one record alone hangs on, so that the records after it stay as they are."""
    record = Record(person, random)
    write_patient(record)
    coverage = write_coverage(record)
    visits = write_visits(record)
    write_chronic(record, visits)
    for visit in visits:
        _write_day(record, visit, coverage)
    for name in person.story:
        tell(record, name, coverage)
    write_allergy(record)
    write_family(record)
    write_device(record)
    write_care(record, [r for r in record.resources if r["resourceType"] == "Condition"][:1])
    write_appointments(record)
    write_oddities(record)
    record.random = own
    if len(visits) > 10:
        write_visit_problem(record, visits[1])
        write_refused_immunization(record, visits[2])
    write_growth(record)
    if person.id == COMPLETE:
        write_circumstances(record, visits)
        write_answers(record, visits[-1])
        write_rarities(record, visits[-1])
    write_origins(record)
    return record.resources


def _write_day(record: Record, visit: Visit, coverage: Resource) -> None:
    write_vital_signs(record, visit)
    illnesses = record.person.illnesses
    write_claim(record, visit, coverage, ILLNESSES[illnesses[0]].icd if illnesses else None)
    if record.chance(3):
        write_lab_panel(record, visit)
    if record.chance(2):
        write_note(record, visit, "Visit note", f"{record.person.name} came for a check. Nothing new.")
    for one_in, write in (
        (6, write_smoking_status),
        (4, write_immunization),
        (5, write_acute),
        (8, write_procedure),
        (8, write_imaging),
        (9, write_note_report),
    ):
        if record.chance(one_in):
            write(record, visit)
