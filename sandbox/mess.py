"""The mess of real systems, on purpose: what a server meets in upstreams that were fed by many interfaces over decades.

Everything here is still JSON that R4 allows. It is done after a record is written, so that the rest stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sandbox.chart import Chart
from sandbox.elements import (
    EXTENSION,
    LOINC,
    Code,
    Json,
    coding,
    concept,
    narrative,
    quantity,
    reference,
    terminology,
)
from sandbox.surveys import SOCIAL
from sandbox.terminology import ETH, PSY, RESTRICTED, VERY_RESTRICTED
from sandbox.vitals import CATEGORY as VITAL_SIGNS

DANGLING: Final = ("Observation/lost-in-migration", "Encounter/never-sent")
"""The targets that don't exist, deliberately."""
LOINC_OID: Final = "urn:oid:2.16.840.1.113883.6.1"
_ABSOLUTE: Final = "https://fhir.lakeview.example.org/r4/"
_LOCAL: Final = "urn:oid:2.16.840.1.113883.19.12"


def _every(chart: Chart, step: int, resource_type: str, category: str | None = None) -> Iterator[Json]:
    """Every so many-th resource of a type (and category), starting somewhere else for each patient."""
    place = chart.number
    for resource in chart.resources:
        if resource["resourceType"] != resource_type or (category and category not in _categories(resource)):
            continue
        place += 1
        if place % step == 0:
            yield resource


def _categories(resource: Json) -> list[str]:
    return [code["code"] for category in resource.get("category", ()) for code in category.get("coding", ())]


def text_only_codes(chart: Chart) -> None:
    """A concept without any code: whatever it is, only its words tell."""
    for resource in _every(chart, 23, "Observation", "laboratory"):
        resource["code"] = {"text": resource["code"]["text"]}
    for resource in _every(chart, 11, "Condition", "encounter-diagnosis"):
        resource["code"] = {"text": resource["code"]["text"]}
    for resource in _every(chart, 29, "MedicationRequest"):
        if "medicationCodeableConcept" in resource:
            resource["medicationCodeableConcept"] = {"text": resource["medicationCodeableConcept"]["text"]}


def several_categories(chart: Chart) -> None:
    """One Observation under two categories, each shared or not on its own."""
    for resource in _every(chart, 31, "Observation", "laboratory"):
        resource["category"] = [*resource["category"], VITAL_SIGNS]
    for resource in _every(chart, 37, "Observation", "laboratory"):
        resource["category"] = [*resource["category"], SOCIAL]


def no_category(chart: Chart) -> None:
    """No category, a local one, or one in words."""
    for place, resource in enumerate(_every(chart, 41, "Observation")):
        if place % 3 == 0:
            del resource["category"]
        else:
            local = {"coding": [{"system": _LOCAL, "code": "LAB9"}], "text": "Results"}
            resource["category"] = [local if place % 3 == 1 else {"text": "vital signs"}]
    for resource in _every(chart, 19, "DocumentReference"):
        del resource["category"]


def other_spellings(chart: Chart) -> None:
    """LOINC under its OID, or beside a local code."""
    for resource in _every(chart, 17, "Observation", "laboratory"):
        for code in resource["code"].get("coding", ()):
            code["system"] = LOINC_OID
    for resource in _every(chart, 13, "Observation", "laboratory"):
        local = {"system": _LOCAL, "code": f"L{chart.number:02d}", "display": "local test"}
        resource["code"] = {"coding": [local, *resource["code"].get("coding", [])]} | {
            key: value for key, value in resource["code"].items() if key != "coding"
        }


def absent_values(chart: Chart) -> None:
    """A result without a value, and one whose unit has none."""
    for resource in _every(chart, 43, "Observation", "laboratory"):
        if "valueQuantity" in resource:
            del resource["valueQuantity"]
            resource["dataAbsentReason"] = terminology("data-absent-reason", "unknown", "Unknown")
    for resource in _every(chart, 47, "Observation", "laboratory"):
        resource["_issued"] = {"extension": [{"url": EXTENSION + "data-absent-reason", "valueCode": "unknown"}]}
        del resource["issued"]


def entered_in_error(chart: Chart) -> None:
    """Withdrawn, but still there."""
    for resource in _every(chart, 53, "Observation"):
        resource["status"] = "entered-in-error"
    for resource in _every(chart, 29, "Condition", "encounter-diagnosis"):
        del resource["clinicalStatus"]
        resource["verificationStatus"] = terminology("condition-ver-status", "entered-in-error", "Entered in Error")


def odd_references(chart: Chart) -> None:
    """Subjects by absolute address; encounters by identifier or by words alone; two that lead nowhere."""
    for resource in _every(chart, 41, "MedicationRequest"):
        resource["subject"] = {"reference": _ABSOLUTE + chart.patient}
    for resource in _every(chart, 59, "Observation"):
        if "encounter" in resource:
            number = {"system": "urn:sandbox:visit", "value": f"V{chart.number:03d}0000"}
            resource["encounter"] = {"type": "Encounter", "identifier": number}
    for resource in _every(chart, 61, "Observation"):
        if "encounter" in resource:
            resource["encounter"] = {"display": f"visit of {chart.persona.name}"}
    if chart.number in (7, 8):
        resource = next(_every(chart, 1, "DiagnosticReport", "LAB"))
        resource["result"] = [*resource["result"], reference(DANGLING[0])]
        next(_every(chart, 1, "Procedure"))["encounter"] = reference(DANGLING[1])


def contained_people(chart: Chart) -> None:
    """A resource inside a resource, repeating what it should only point to."""
    for resource in _every(chart, 67, "Observation", "laboratory"):
        name = {"text": f"Technician of {chart.persona.name}"}
        resource["contained"] = [{"resourceType": "Practitioner", "id": "who", "name": [name]}]
        resource["performer"] = [*resource.get("performer", []), {"reference": "#who"}]


def long_words(chart: Chart) -> None:
    """A note as long as some people write them, with everything in it; and a narrative that repeats a result."""
    titles = ", ".join(episode.course for episode in chart.persona.episodes)
    for resource in _every(chart, 71, "Observation"):
        resource["note"] = [{"text": f"Known for {titles}. " + "Please compare with the earlier values. " * 40}]
    for resource in _every(chart, 9, "Observation", "laboratory"):
        if "valueQuantity" in resource:
            value = resource["valueQuantity"]
            said = f"{resource['code'].get('text', 'Result')}: {value['value']} {value['unit']}"
            resource["text"] = narrative(f"{chart.persona.name}, {said}")


def old_records(chart: Chart) -> None:
    """What came over from paper: a year, words, nothing else."""
    if chart.persona.age < 30:
        return
    chart.add(
        "Condition",
        {
            "category": [terminology("condition-category", "problem-list-item")],
            "clinicalStatus": terminology("condition-clinical", "inactive"),
            "code": {"text": "see paper chart"},
            "subject": chart.subject(),
            "onsetDateTime": str(chart.birth.year + 12),
            "recordedDate": str(chart.birth.year + 13),
        },
    )
    old: Json = {"status": "unknown", "code": {"text": "Weight"}, "subject": reference(chart.patient)}
    chart.add("Observation", old | {"effectiveDateTime": str(chart.today.year - 28), "valueString": "1.50e2 lb (paper)"})


def labels_alone(chart: Chart) -> None:
    """Sensitive by its label only: no code, no word tells why."""
    if chart.number % 4 != 1:
        return
    labels = (ETH, PSY)[chart.number % 8 == 5]
    content: Json = {
        "clinicalStatus": terminology("condition-clinical", "active"),
        "category": [terminology("condition-category", "problem-list-item", "Problem List Item")],
        "code": {"text": "Follow-up needed"},
        "subject": chart.subject(),
    }
    with chart.labelled(labels):
        chart.add("Condition", content)
    with chart.labelled((RESTRICTED,)):
        chart.add("Condition", content | {"code": {"text": "Restricted by request of the patient"}})
    if chart.number % 8 == 1:
        with chart.labelled((VERY_RESTRICTED, Code(_LOCAL, "VIP", "local restriction"))):
            chart.add("Condition", content | {"code": {"text": "Restricted record"}})


def words_alone(chart: Chart) -> None:
    """Sensitive by its words only: free text, no code, no label."""
    for episode in chart.persona.episodes:
        word = _WORDS.get(episode.course)
        if word is not None and not episode.labelled:
            said: Json = {
                "status": "final",
                "category": [terminology("observation-category", "laboratory", "Laboratory")],
                "code": {"text": word},
                "subject": chart.subject(),
                "effectiveDateTime": str(chart.today.year - 1),
                "valueQuantity": quantity(chart.decimal("1.50", "1.50"), "{index}"),
                "note": [{"text": f"Ordered because of {episode.course}."}],
            }
            chart.add("Observation", said)


_WORDS: Final = {
    "hiv-status": "HIV 1/2 antibody (outside lab)",
    "prep": "HIV rapid test",
    "opioids": "Urine drug screen, fentanyl",
    "depression": "PHQ-9 (paper)",
    "contraception": "Pregnancy test, home",
    "chlamydia": "Chlamydia swab, outside lab",
}


def other_people(chart: Chart) -> None:
    """References that lead to another patient: mother and child, wife and husband, a misfiled performer."""
    other = _OTHERS.get(chart.id)
    if other is None:
        return
    patient, name = other
    content: Json = {
        "status": "final",
        "category": [terminology("observation-category", "social-history", "Social History")],
        "code": concept(Code(LOINC, "10157-6", "History of family member diseases")),
        "subject": chart.subject(),
        "focus": [reference(patient, name)],
        "effectiveDateTime": str(chart.today.year),
        "valueString": f"{name}: see her or his own record",
    }
    chart.add("Observation", content)
    for resource in _every(chart, 27, "Observation", "laboratory"):
        resource["performer"] = [reference(patient, name)]
    for resource in _every(chart, 1, "FamilyMemberHistory"):
        record = {"url": EXTENSION + "familymemberhistory-patient-record", "valueReference": reference(patient, name)}
        resource["extension"] = [record]
    for resource in _every(chart, 5, "DocumentReference"):
        resource["context"] = resource.get("context", {}) | {"related": [reference(patient)]}


_OTHERS: Final = {
    "ivy-okafor": ("Patient/amelia-okafor", "Amelia Okafor"),
    "noah-okafor": ("Patient/ivy-okafor", "Ivy Okafor"),
    "amelia-okafor": ("Patient/noah-okafor", "Noah Okafor"),
    "baby-raman": ("Patient/priya-raman", "Priya Raman"),
    "priya-raman": ("Patient/baby-raman", "Baby girl Raman"),
    "george-whitfield": ("Patient/margaret-whitfield", "Margaret Whitfield"),
    "margaret-whitfield": ("Patient/george-whitfield", "George Whitfield"),
    "tom-hartley": ("Patient/marcus-webb", "Marcus Webb"),
}


def tagged(chart: Chart) -> None:
    """Where a record came from, in tags and sources that name things too."""
    for resource in _every(chart, 21, "Encounter"):
        resource["meta"] = resource.get("meta", {}) | {
            "source": f"urn:lakeview:feed:{chart.id}",
            "tag": [coding(Code(_LOCAL, "IMPORT", f"imported for {chart.persona.name}"))],
        }


MESSES: Final[tuple[Callable[[Chart], None], ...]] = (
    old_records,
    labels_alone,
    words_alone,
    other_people,
    several_categories,
    other_spellings,
    text_only_codes,
    absent_values,
    long_words,
    contained_people,
    odd_references,
    entered_in_error,
    tagged,
    no_category,
)
"""In this order: what takes categories away comes last, since others look for them."""


def make_mess(chart: Chart) -> None:
    """All of it, on one record."""
    for mess in MESSES:
        mess(chart)
