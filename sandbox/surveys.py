"""Social history, screening surveys and what they answer: Observation (social-history, survey, sdoh), QuestionnaireResponse."""

from __future__ import annotations

from typing import Final

from sandbox.chart import Chart
from sandbox.elements import LOINC, SNOMED, Code, Json, concept, quantity, reference, terminology
from sandbox.lab_tests import loinc
from sandbox.terminology import SMOKING
from sandbox.visits import Visit

SOCIAL: Final = terminology("observation-category", "social-history", "Social History")
SURVEY: Final = terminology("observation-category", "survey", "Survey")
SDOH: Final = {
    "coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "code": "sdoh", "display": "SDOH"}]
}
# panel, total score, items, highest answer to an item
_SURVEYS: Final = {
    "phq-9": (
        loinc("44249-1", "PHQ-9 quick depression assessment panel [Reported.PHQ]"),
        loinc("44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]"),
        (
            loinc("44250-9", "Little interest or pleasure in doing things in last 2 weeks"),
            loinc("44255-8", "Feeling down, depressed, or hopeless in last 2 weeks"),
            loinc("44260-8", "Thoughts that you would be better off dead, or of hurting yourself in some way"),
        ),
        3,
    ),
    "gad-7": (
        loinc("69737-5", "Generalized anxiety disorder 7 item (GAD-7)"),
        loinc("70274-6", "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]"),
        (
            loinc("69725-0", "Feeling nervous, anxious or on edge in last 2 weeks"),
            loinc("68509-9", "Not able to stop or control worrying in last 2 weeks"),
        ),
        3,
    ),
    "audit-c": (
        loinc("72109-2", "Alcohol Use Disorder Identification Test - Consumption [AUDIT-C]"),
        loinc("75626-2", "Total score [AUDIT-C]"),
        (
            loinc("68518-0", "How often do you have a drink containing alcohol"),
            loinc("68519-8", "How many standard drinks containing alcohol do you have on a typical day"),
        ),
        4,
    ),
    "hark": (
        loinc("76499-3", "Within the last year, have you been humiliated or emotionally abused by your partner"),
        loinc("76504-0", "Total score [HARK]"),
        (
            loinc("76500-8", "Within the last year, have you been afraid of your partner or ex-partner"),
            loinc("76503-2", "Within the last year, have you been kicked, hit, slapped or otherwise physically hurt"),
        ),
        1,
    ),
}
_FOOD: Final = loinc("88122-7", "Within the past 12 months we worried whether our food would run out")
_HOUSING: Final = loinc("71802-3", "Housing status")
_FOOD_ANSWERS: Final = (loinc("LA28398-8", "Never true"), loinc("LA6729-3", "Sometimes true"))
_HOUSING_ANSWERS: Final = (
    loinc("LA30189-7", "I have a place to live today, but I am worried about losing it in the future"),
    loinc("LA30190-5", "I do not have a steady place to live"),
)


def write_survey(chart: Chart, visit: Visit, name: str) -> list[str]:
    """A questionnaire filled in at a visit: items, total score, and the response as it was given."""
    _panel, total, items, top = _SURVEYS[name]
    answers = [chart.rng.randint(0, top) for _ in items]
    derived = [_scored(chart, visit, item, answer, []) for item, answer in zip(items, answers, strict=True)]
    response = _response(chart, visit, name, items, answers)
    score = _scored(chart, visit, total, sum(answers) * 2, [*derived, response])
    return [*derived, response, score]


def _scored(chart: Chart, visit: Visit, code: Code, score: int, derived: list[str]) -> str:
    content = _observation(chart, visit, code, [SURVEY])
    content |= {"valueQuantity": quantity(chart.decimal(str(score), str(score)), "{score}")}
    if derived:
        content["derivedFrom"] = [reference(source) for source in derived]
    return chart.add("Observation", content, profile="us-core-observation-screening-assessment")


def _response(chart: Chart, visit: Visit, name: str, items: tuple[Code, ...], answers: list[int]) -> str:
    content: Json = {
        "questionnaire": f"http://example.org/sandbox/Questionnaire/{name}",
        "status": "completed",
        "subject": chart.subject(),
        "encounter": visit.context(),
        "authored": visit.at(3),
        "source": reference(chart.patient),
        "item": [
            {"linkId": item.code, "text": item.display, "answer": [{"valueInteger": answer}]}
            for item, answer in zip(items, answers, strict=True)
        ],
    }
    return chart.add("QuestionnaireResponse", content, profile="us-core-questionnaireresponse")


def write_social_history(chart: Chart, visit: Visit) -> None:
    """What a check-up asks: smoking, work, food, housing; of women also pregnancy, of some people identity."""
    if chart.age_at(visit.day) < 13:
        return
    smoking = SMOKING[chart.persona.smoking]
    content = _observation(chart, visit, loinc("72166-2", "Tobacco smoking status"), [SOCIAL])
    content["valueCodeableConcept"] = concept(smoking, text=smoking.display.partition(" (")[0])
    chart.add("Observation", content, profile="us-core-smokingstatus")
    _need(chart, visit, _FOOD, _FOOD_ANSWERS)
    if chart.rng.random() < 0.3:
        _need(chart, visit, _HOUSING, _HOUSING_ANSWERS)
    if chart.rng.random() < 0.5:
        content = _observation(chart, visit, loinc("11341-5", "History of Occupation"), [SOCIAL])
        work = chart.rng.choice(("Teacher", "Driver", "Nurse", "Carpenter", "Student", "Retired", "Cook"))
        chart.add("Observation", content | {"valueCodeableConcept": concept(text=work)})
    if chart.persona.sex == "female" and chart.age_at(visit.day) < 50:
        content = _observation(chart, visit, loinc("82810-3", "Pregnancy status"), [SOCIAL])
        content["valueCodeableConcept"] = concept(Code(SNOMED, "60001007", "Not pregnant (finding)"))
        chart.add("Observation", content, profile="us-core-observation-pregnancystatus")
    if chart.number % 8 == 7:
        content = _observation(chart, visit, loinc("76690-7", "Sexual orientation"), [SOCIAL])
        content["valueCodeableConcept"] = concept(Code(SNOMED, "38628009", "Homosexual (finding)"))
        chart.add("Observation", content, profile="us-core-observation-sexual-orientation")


def _need(chart: Chart, visit: Visit, code: Code, answers: tuple[Code, Code]) -> None:
    content = _observation(chart, visit, code, [SURVEY, SDOH] if chart.rng.random() < 0.6 else [SDOH])
    content["valueCodeableConcept"] = concept(answers[chart.rng.random() < 0.25])
    chart.add("Observation", content, profile="us-core-observation-screening-assessment")


def _observation(chart: Chart, visit: Visit, code: Code, categories: list[Json]) -> Json:
    return {
        "status": "final",
        "category": categories,
        "code": concept(code) if code.system == LOINC else concept(text=code.display),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(4),
        "performer": [reference(visit.clinician.reference)],
    }
