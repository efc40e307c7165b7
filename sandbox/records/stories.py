"""What people least want to share, as real records hold it: diagnosis, medicine, test, note and bill, all telling it.

Half of these are labelled as sensitive; the others give themselves away by their codes only.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sandbox.records.documents import write_note
from sandbox.records.encounters import Visit, write_visit
from sandbox.records.observations import LABORATORY_TEST, SDOH, SURVEY, write_observation
from sandbox.records.plans import write_claim
from sandbox.records.problems import write_condition, write_prescription
from sandbox.records.record import Record, Resource, concept, labelled, reference
from sandbox.records.terminology import LOINC, RXNORM, Code, Illness, illness


class Story(NamedTuple):
    """One sensitive course: its labels, problem, medicine and test with the result in words or as a score."""

    labels: tuple[str, ...]
    problem: Illness
    medicine: Code | None
    test: Code
    survey: bool
    result: int | str


STORIES: Final[dict[str, Story]] = {
    "depression": Story(
        ("PSY",),
        illness("35489007", "F32.1", "Depressive disorder"),
        Code(RXNORM, "312941", "sertraline 50 MG Oral Tablet"),
        *(Code(LOINC, "44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score"), True, 17),
    ),
    "alcohol": Story(
        ("ETH",),
        illness("7200002", "F10.20", "Alcohol dependence"),
        Code(RXNORM, "7243", "naltrexone"),
        *(Code(LOINC, "75626-2", "Total score [AUDIT-C]"), True, 9),
    ),
    "opioid": Story(
        ("SUD",),
        illness("75544000", "F11.20", "Opioid dependence"),
        Code(RXNORM, "351266", "buprenorphine 8 MG / naloxone 2 MG Sublingual Tablet"),
        *(Code(LOINC, "19659-2", "Phencyclidine [Presence] in Urine by Screen method"), False, "negative"),
    ),
    "hiv": Story(
        ("HIV",),
        illness("86406008", "B20", "Human immunodeficiency virus infection"),
        Code(RXNORM, "1747691", "abacavir / dolutegravir / lamivudine Oral Tablet"),
        *(Code(LOINC, "75622-1", "HIV 1 and 2 tests - Meaningful Use set"), False, "reactive"),
    ),
    "pregnancy": Story(
        ("SEX",),
        illness("77386006", "O80", "Pregnancy"),
        None,
        *(Code(LOINC, "2106-3", "Choriogonadotropin (pregnancy test) [Presence] in Urine"), False, "positive"),
    ),
    "sti": Story(
        ("SEX",),
        illness("240589008", "A56.00", "Chlamydial infection"),
        None,
        *(Code(LOINC, "21613-5", "Chlamydia trachomatis DNA [Presence] by NAA"), False, "detected"),
    ),
    "gender": Story(
        ("SEX",),
        illness("285409006", "Z11.3", "Visit for sexual health screening"),
        None,
        *(Code(LOINC, "76690-7", "Sexual orientation"), True, "does not want to say"),
    ),
    "violence": Story(
        ("SDV",),
        illness("371775004", "T74.11XA", "Physical abuse"),
        None,
        *(Code(LOINC, "76501-6", "Within the last year, have you been afraid of your partner"), True, "yes"),
    ),
    "genetic": Story(
        ("GDIS",),
        illness("412734009", "Z15.01", "BRCA1 gene mutation positive"),
        None,
        *(Code(LOINC, "21636-6", "BRCA1 gene mutations found"), False, "c.68_69del"),
    ),
}


def tell(record: Record, name: str, coverage: Resource) -> None:
    """Write the course over three visits; label what's in it if this person's clinic does so."""
    story = STORIES[name]
    before = len(record.resources)
    days = sorted(record.some_day() for _ in range(3))
    for number, day in enumerate(days):
        visit = write_visit(record, day, story.problem, "sato" if "PSY" in story.labels else "raman")
        _write_test(record, visit, story)
        problem = story.problem.snomed.display
        if number == 0:
            condition = write_condition(record, visit, story.problem)
            if story.medicine is not None:
                medicine: Resource = {"medicationCodeableConcept": concept(story.medicine)}
                write_prescription(record, visit, medicine, condition)
        write_note(record, visit, f"Visit note: {problem}", f"{record.person.name} was seen for: {problem}.")
        write_claim(record, visit, coverage, story.problem.icd)
    if record.person.labels:
        for resource in record.resources[before:]:
            labelled(resource, *story.labels)


def _write_test(record: Record, visit: Visit, story: Story) -> None:
    categories = (SURVEY, SDOH) if "SDV" in story.labels else (SURVEY,) if story.survey else (LABORATORY_TEST,)
    value: Resource = {"valueInteger": story.result} if isinstance(story.result, int) else {"valueString": story.result}
    found = write_observation(record, visit, visit.day, categories, concept(story.test), value)
    if story.survey:
        answer: Resource = {
            "status": "completed",
            "subject": record.subject,
            "encounter": reference(visit.encounter),
            "authored": found["effectiveDateTime"],
            "item": [
                {"linkId": story.test.code, "text": story.test.display, "answer": [value]},
            ],
        }
        record.add("answers", "QuestionnaireResponse", answer)
