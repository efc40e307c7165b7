"""Observations that US Core describes and few records hold: what wasn't measured or answered, each kind of value."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from typing import Final

from sandbox.records.directory import LABORATORY, clinician
from sandbox.records.encounters import Visit
from sandbox.records.observations import (
    LABORATORY_TEST,
    SDOH,
    SOCIAL_HISTORY,
    SURVEY,
    VITAL_SIGNS,
    quantity,
    write_observation,
)
from sandbox.records.record import Record, Resource, coding, concept, instant, reference
from sandbox.records.terminology import (
    LOINC,
    OBSERVATION_CATEGORY,
    SNOMED,
    TERMINOLOGY,
    US_CORE,
    Code,
)

_YES: Final = Code(SNOMED, "373066001", "Yes")
_NOT_DONE: Final = concept(Code(TERMINOLOGY + "data-absent-reason", "not-performed", "Not Performed"))
_DECLINED: Final = concept(Code(TERMINOLOGY + "data-absent-reason", "asked-declined", "Asked But Declined"))
_FERRITIN: Final = Code(LOINC, "2276-4", "Ferritin [Mass/volume] in Serum or Plasma")
_LASTED: Final = Code(LOINC, "88123-5", "Within the past 12 months the food we bought just didn't last")
_PACK_YEARS: Final = Code(SNOMED, "401201003", "Cigarette pack-years")
_FOUND: Final = Code(OBSERVATION_CATEGORY, "procedure", "Procedure")
_DIRECTIVE: Final = Code(LOINC, "45473-6", "Advance healthcare directive completed")
_DIRECTIVES: Final = Code(LOINC, "42348-3", "Advance healthcare directives")
_POWER: Final = Code(LOINC, "64298-3", "Power of attorney")
_ABOUT_DIRECTIVES: Final = Code(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-category",
    "observation-adi-documentation",
    "Observation ADI Documentation",
)
_PLAIN: Final = Code("urn:ietf:rfc:3986", "urn:ihe:iti:xds:2017:mimeTypeSufficient", "mimeType Sufficient")


def write_answers(record: Record, visit: Visit) -> None:
    """All of them, at one visit."""
    _write_unmeasured(record, visit)
    _write_unanswered(record, visit)
    _write_smoked(record, visit)
    _write_findings(record, visit)
    _write_directive(record, visit)


def _write(record: Record, visit: Visit, category: Code, code: Resource, found: Resource, profile: str) -> Resource:
    """An Observation by the doctor, under a profile."""
    said = {"performer": [clinician("raman")], **found}
    written = write_observation(record, visit, visit.day, (category,), code, said)
    written["meta"] = {"profile": [US_CORE + profile]}
    return written


def _write_unmeasured(record: Record, visit: Visit) -> None:
    """Each vital sign once more without a value, and so each part of it."""
    signs: dict[str, Resource] = {}
    for found in record.resources:
        if concept(VITAL_SIGNS) in found.get("category", ()) and "meta" in found:
            kept = signs.setdefault(found["meta"]["profile"][0], found)
            if "component" in found and "component" not in kept:
                signs[found["meta"]["profile"][0]] = found
    for profile, sign in signs.items():
        parts = [{"code": part["code"], "dataAbsentReason": _NOT_DONE} for part in sign.get("component", ())]
        missing: Resource = {"dataAbsentReason": _NOT_DONE, **({"component": parts} if parts else {})}
        _write(record, visit, VITAL_SIGNS, sign["code"], missing, profile.removeprefix(US_CORE))


def _write_unanswered(record: Record, visit: Visit) -> None:
    """A test that the laboratory couldn't make, and a question that wasn't answered."""
    lost = {"performer": [LABORATORY, clinician("novak")], "dataAbsentReason": _NOT_DONE}
    _write(record, visit, LABORATORY_TEST, concept(_FERRITIN), lost, "us-core-observation-lab")
    asked = "us-core-observation-screening-assessment"
    before = next(r for r in record.resources if US_CORE + asked in r.get("meta", {}).get("profile", ()))
    silent = {"dataAbsentReason": _DECLINED, "derivedFrom": [reference(before)]}
    _write(record, visit, SURVEY, concept(_LASTED), silent, asked)["category"].append(concept(SDOH))


def _write_smoked(record: Record, visit: Visit) -> None:
    years = {"valueQuantity": quantity(Decimal("2.5"), "{pack-years}")}
    _write(record, visit, SOCIAL_HISTORY, concept(_PACK_YEARS), years, "us-core-smokingstatus")


def _write_findings(record: Record, visit: Visit) -> None:
    """What the doctor sees and hears of, in each form that US Core's two general profiles name."""
    values: tuple[Resource, ...] = (
        {"valueString": "no murmur"},
        {"valueQuantity": quantity(Decimal("2.0"), "cm")},
        {"valueCodeableConcept": concept(_YES)},
        {"dataAbsentReason": _NOT_DONE},
    )
    for value in values:
        code = {"text": "Heart sounds, distance and rhythm"}
        _write(record, visit, _FOUND, code, value, "us-core-observation-clinical-result")
    asked = next(r for r in record.resources if r["resourceType"] == "QuestionnaireResponse" and "meta" in r)
    for value in (*values[:3], {"valueBoolean": True}):
        code = {"text": "Walks without help"}
        said = _write(record, visit, SOCIAL_HISTORY, code, value, "us-core-simple-observation")
        said["performer"].append(record.subject)
        said["derivedFrom"] = [reference(asked)]


def _write_directive(record: Record, visit: Visit) -> None:
    """Who decides for her when she can't: the paper, and that there is one (US Core 8.0.0)."""
    signed = {"url": US_CORE + "us-core-authentication-time", "valueDateTime": instant(visit.day, 15, 0)}
    words = b64encode(b"My brother Chidi decides.").decode()
    kept = record.add("binary", "Binary", {"contentType": "text/plain", "data": words})
    plain: Resource = {"contentType": "text/plain", "title": "Power of attorney"}
    paper: Resource = {
        "extension": [signed],
        "identifier": [{"system": "urn:assent:sandbox:directive", "value": record.person.id}],
        "status": "current",
        "type": concept(_POWER),
        "category": [concept(_DIRECTIVES)],
        "subject": record.subject,
        "date": instant(visit.day, 15, 10),
        "author": [clinician("raman")],
        "authenticator": clinician("raman"),
        "content": [
            {"attachment": {**plain, "data": words}, "format": coding(_PLAIN)},
            {"attachment": {**plain, "url": f"Binary/{kept['id']}"}, "format": coding(_PLAIN)},
        ],
    }
    document = record.add("directive", "DocumentReference", paper, "us-core-adi-documentreference")
    supported = {
        "url": "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo",
        "valueReference": reference(document),
    }
    found = {
        "extension": [supported],
        "issued": instant(visit.day, 15, 20),
        "valueCodeableConcept": concept(_YES),
    }
    profile = "us-core-observation-adi-documentation"
    told = _write(record, visit, SOCIAL_HISTORY, concept(_DIRECTIVE), found, profile)
    told["category"].append(concept(_ABOUT_DIRECTIVES))
