"""The Patient resource of a person: US Core extensions, and what real registration desks leave behind in it."""

from __future__ import annotations

from typing import Final

from sandbox.records.demographics import COMPLETE, STATES, Person
from sandbox.records.directory import CLINIC, clinician
from sandbox.records.record import Record, Resource, concept, narrative
from sandbox.records.terminology import TERMINOLOGY, US_CORE, Code

MOTHERS: Final = {
    "leo-kowalski": ("hannah-kowalski", "Hannah Kowalski"),
    "nina-kowalski": ("hannah-kowalski", "Hannah Kowalski"),
    "kofi-mensah": ("adwoa-mensah", "Adwoa Mensah"),
    "maya-begay": (None, "Lorraine Begay"),
    "arjun-patel": (None, "Meena Patel"),
}
"""Who speaks for a child: a patient of the sandbox, or somebody known by name only."""

_LATIN: Final = {"emi-tanaka": ("Emi", "Tanaka"), "li-wei": ("Wei", "Li"), "sofia-petrova": ("Sofia", "Petrova")}
_RACES: Final = {
    "black": ("2054-5", "Black or African American"),
    "white": ("2106-3", "White"),
    "asian": ("2028-9", "Asian"),
    "native": ("1002-5", "American Indian or Alaska Native"),
    "pacific": ("2076-8", "Native Hawaiian or Other Pacific Islander"),
    "hispanic": ("2131-1", "Other Race"),
    "other": ("2131-1", "Other Race"),
}
_HOME: Final = {"use": "home", "line": ["31 Maple Avenue"], "city": "Boston", "state": "MA", "postalCode": "02118"}
_RACE_SYSTEM: Final = "urn:oid:2.16.840.1.113883.6.238"
_NAVAJO: Final = Code("http://terminology.hl7.org/CodeSystem/v3-TribalEntityUS", "170", "Navajo Nation")
_MRN: Final = Code(TERMINOLOGY + "v2-0203", "MR", "Medical Record Number")


def write_patient(record: Record) -> None:
    """The Patient, and for a child the RelatedPerson who speaks for it."""
    person = record.person
    patient: Resource = {
        "resourceType": "Patient",
        "id": person.id,
        "meta": {"profile": [US_CORE + "us-core-patient"]},
        "text": narrative(f"{person.name}, born {person.born.isoformat()}, {person.city}"),
        "extension": _extensions(person),
        "identifier": [_mrn(record)],
        "active": True,
        "name": _names(person),
        "telecom": [
            {
                "system": "phone",
                "value": f"555-{record.random.randint(200, 999)}-0{record.random.randint(100, 199)}",
                "use": "mobile",
            },
            {"system": "email", "value": f"{person.id}@mail.example", "use": "home"},
        ],
        "gender": person.gender,
        "birthDate": person.born.isoformat(),
        "address": [
            {
                "use": "home",
                "line": [f"{record.random.randint(1, 999)} Maple Avenue"],
                "city": person.city,
                "state": STATES[person.city],
                "postalCode": f"{record.random.randint(10000, 99499)}",
                "country": "US",
            }
        ],
        "communication": [{"language": concept(Code("urn:ietf:bcp:47", "en-US", "English")), "preferred": True}],
        "generalPractitioner": [clinician("hughes" if person.born.year > 2008 else "raman")],
        "managingOrganization": CLINIC,
    }
    patient.update(_oddities(person, patient))
    record.resources.append(patient)
    if person.id in MOTHERS:
        _write_mother(record)


def _mrn(record: Record) -> Resource:
    number = record.random.randint(100000, 999999)
    return {"use": "usual", "type": concept(_MRN), "system": "urn:oid:1.2.36.146.595.217.0.1", "value": str(number)}


def _names(person: Person) -> list[Resource]:
    official = {"use": "official", "text": person.name, "family": person.family, "given": [person.given]}
    latin = _LATIN.get(person.id)
    if latin is None:
        return [official]
    return [official, {"use": "usual", "text": " ".join(latin), "family": latin[1], "given": [latin[0]]}]


def _extensions(person: Person) -> list[Resource]:
    race, shown = _RACES[person.race]
    hispanic = person.race == "hispanic"
    ethnicity = ("2135-2", "Hispanic or Latino") if hispanic else ("2186-5", "Not Hispanic or Latino")
    birth_sex = {"female": "F", "male": "M"}.get(person.gender, "UNK")
    return [
        _us_core("us-core-race", race, shown),
        _us_core("us-core-ethnicity", *ethnicity),
        {"url": US_CORE + "us-core-birthsex", "valueCode": birth_sex},
        *_extensions_of(person),
    ]


def _extensions_of(person: Person) -> list[Resource]:
    """What US Core says of sex and of tribes, where somebody asked."""
    found: list[Resource] = []
    if person.id in (COMPLETE, "maya-begay"):
        found.append({"url": US_CORE + "us-core-sex", "valueCode": "248152002"})
        tribe = {"url": "tribalAffiliation", "valueCodeableConcept": concept(_NAVAJO)}
        found.append({"url": US_CORE + "us-core-tribal-affiliation", "extension": [tribe]})
    return found


def _us_core(name: str, code: str, shown: str) -> Resource:
    return {
        "url": US_CORE + name,
        "extension": [
            {"url": "ombCategory", "valueCoding": {"system": _RACE_SYSTEM, "code": code, "display": shown}},
            {"url": "text", "valueString": shown},
        ],
    }


def _oddities(person: Person, patient: Resource) -> Resource:
    """What sets single patients apart: a birth time, a year only, duplicates, links, a missing gender."""
    birth_time = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
    match person.id:
        case "amelia-okafor":  # who married, moved, and kept the old papers
            before = {
                "use": "old",
                "family": "Eze",
                "given": ["Amelia"],
                "suffix": ["RN"],
                "period": {"end": "2019-06-08"},
            }
            moved = {**patient["address"][0], "use": "old", "line": ["7 Cedar Lane"], "period": {"end": "2019-07-01"}}
            return {"name": [*patient["name"], before], "address": [*patient["address"], moved]}
        case "ingrid-larsen":  # the last thing that is known of her
            return {"deceasedDateTime": "2026-10-31T23:10:00-05:00"}
        case "kofi-mensah":
            moment = {"url": birth_time, "valueDateTime": "2026-10-20T03:17:00-04:00"}
            return {"_birthDate": {"extension": [moment]}, "multipleBirthBoolean": False}
        case "george-whitfield":
            return {"birthDate": "1929", "maritalStatus": {"text": "widowed"}}
        case "siobhan-ni-cheallaigh":
            return {"birthDate": "1949-05"}
        case "tyrone-jackson":  # the same number twice, and one that has no system
            return {"identifier": [*patient["identifier"], *patient["identifier"], {"value": "TJ-1999"}]}
        case "pat-mckenzie":
            unknown = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
            return {"_gender": {"extension": [unknown]}, "gender": "unknown"}
        case "hannah-kowalski":
            contact = {"name": {"text": "Piotr Kowalski"}, "relationship": [{"text": "husband"}]}
            return {"contact": [contact]}
        case "leo-kowalski":
            return {"link": [{"other": {"reference": "RelatedPerson/related-leo-kowalski-1"}, "type": "seealso"}]}
        case "walter-de-vries":  # a duplicate registration, long merged away: that record is gone
            return {"link": [{"other": {"reference": "Patient/walter-devries-old"}, "type": "replaces"}]}
        case _:
            return {}


def write_contact(record: Record) -> None:
    """A relative of a grown-up, to be called when something happens."""
    elements: Resource = {
        "active": True,
        "patient": record.subject,
        "relationship": [concept(Code(TERMINOLOGY + "v3-RoleCode", "BRO", "brother"))],
        "name": [{"use": "official", "family": "Eze", "given": ["Chidi"]}],
        "telecom": [{"system": "phone", "value": "555-300-0177", "use": "mobile"}],
        "address": [_HOME],
    }
    record.add("related", "RelatedPerson", elements, "us-core-relatedperson")


def _write_mother(record: Record) -> None:
    mother, name = MOTHERS[record.person.id]
    identifier = [{"system": "urn:assent:sandbox:patient", "value": mother}] if mother else []
    elements: Resource = {
        "active": True,
        "patient": record.subject,
        "relationship": [concept(Code(TERMINOLOGY + "v3-RoleCode", "MTH", "mother"))],
        "name": [{"text": name}],
        "telecom": [{"system": "phone", "value": "555-300-0142", "use": "mobile"}],
        "address": [_HOME],
    }
    found = {**({"identifier": identifier} if mother else {}), **elements}
    record.add("related", "RelatedPerson", found, "us-core-relatedperson")
