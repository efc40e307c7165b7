"""Synthetic patients: FHIR R4 resources, US Core shaped, with the mess of real systems; the same seed, the same bytes.

Numbers are decimal.Decimal, so that `1.50` stays `1.50`. `meta.versionId` and `meta.lastUpdated` are the store's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Final

from sandbox.care import (
    write_allergies,
    write_appointments,
    write_devices,
    write_family_history,
    write_immunizations,
    write_plan,
)
from sandbox.chart import Chart
from sandbox.claims import write_claim, write_coverage
from sandbox.demographics import write_demographics
from sandbox.directory import directory
from sandbox.documents import write_note, write_note_report, write_therapy_note
from sandbox.elements import Json
from sandbox.imaging import write_imaging, write_procedure_finding
from sandbox.labs import write_panel
from sandbox.mess import make_mess
from sandbox.personas import PERSONAS, Persona
from sandbox.provenance import write_provenance
from sandbox.surveys import write_social_history, write_survey
from sandbox.terminology import PSY
from sandbox.treatment import (
    write_concern,
    write_prescriptions,
    write_problem,
    write_procedure,
    write_statement,
    write_visit_diagnosis,
)
from sandbox.visits import COURSES, Visit, open_visit, visit_days
from sandbox.vitals import write_vitals

SEED: Final = 20261101
TODAY: Final = date(2026, 11, 1)
"""The day on which the sandbox's records end; a constant, since the clock must not change the data."""
_CONCERNS: Final = ("Worried about falling", "Sleeps badly", "Wants to lose weight", "Stress at work")


def generate(seed: int = SEED, *, today: date = TODAY) -> Iterator[Json]:
    """All resources, directory first, then patient by patient."""
    yield from directory()
    seeds = Random(seed)  # noqa: S311 - data that must repeat, no secret
    for number, persona in enumerate(PERSONAS, 1):
        yield from _record(number, persona, Random(seeds.getrandbits(64)), today)  # noqa: S311 - the same


def _record(number: int, persona: Persona, rng: Random, today: date) -> list[Json]:
    chart = Chart(number, persona, rng, today)
    write_demographics(chart)
    coverage = write_coverage(chart)
    problems: dict[str, str] = {}
    for episode in persona.episodes:
        problem = write_problem(chart, episode)
        problems[COURSES[episode.course].title] = problem
        write_plan(chart, episode, problem)
    _background(chart)
    for index, day in enumerate(visit_days(chart)):
        _write_visit(chart, open_visit(chart, index, day, problems), problems, coverage)
    write_appointments(chart)
    make_mess(chart)
    return chart.resources


def _background(chart: Chart) -> None:
    write_allergies(chart)
    write_immunizations(chart)
    write_family_history(chart)
    write_devices(chart)
    if chart.persona.age > 17 and chart.number % 2:
        write_concern(chart, chart.rng.choice(_CONCERNS))


def _write_visit(chart: Chart, visit: Visit, problems: dict[str, str], coverage: str) -> None:
    course = visit.course
    with chart.labelled(course.labels if course and visit.labelled else ()):
        made = [*_treat(chart, visit, problems), *_test(chart, visit)]
        made.append(write_note(chart, visit))
        if visit.index % 8 == 2:
            made.append(write_note_report(chart, visit))
    # Nobody labels vital signs and check-up questions, whatever the visit was about.
    write_vitals(chart, visit)
    if course is None:
        write_social_history(chart, visit)
        if chart.age_at(visit.day) > 30:
            made.append(write_panel(chart, visit, ("basic", "lipids", "blood-count")[visit.index % 3]))
    elif course.labels == PSY and visit.index % 3 == 1:
        made.append(write_therapy_note(chart, visit))
    made.extend(write_claim(chart, visit, coverage))
    if visit.index % 3 == 0:
        write_provenance(chart, visit, made)


def _treat(chart: Chart, visit: Visit, problems: dict[str, str]) -> list[str]:
    """Diagnosis, prescriptions and procedure of a visit."""
    course = visit.course
    if course is None:
        return []
    made = [write_visit_diagnosis(chart, visit), *write_prescriptions(chart, visit, problems.get(course.title))]
    if visit.index % 4 == 2:
        procedure = write_procedure(chart, visit)
        if procedure is not None:
            made += [procedure, write_procedure_finding(chart, visit, procedure)]
    if visit.index % 9 == 4 and course.drugs:
        made.append(write_statement(chart, visit, course.drugs[0]))
    return [reference for reference in made if reference is not None]


def _test(chart: Chart, visit: Visit) -> list[str]:
    """Panels, questionnaires and images of a visit."""
    course = visit.course
    if course is None:
        return []
    made = [write_panel(chart, visit, name) for name in course.panels]
    for name in course.surveys:
        made += write_survey(chart, visit, name)
    if course.imaging is not None and (visit.index % 4 == 1 or not course.lasting):
        write_imaging(chart, visit, course.imaging)
    return made
