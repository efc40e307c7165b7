"""The made-up population: the same for the same seed, and with everything in it that the sandbox is to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B import get_fhir_model_class

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.r4.definitions import load_definitions
from policies.catalogue import OTHER_SENSITIVE
from policies.classify import classify
from sandbox.people import USERS
from sandbox.profiles import PROFILES
from sandbox.records.cohorts import EVERYBODY
from sandbox.records.demographics import COMPLETE, PEOPLE
from sandbox.records.oddities import DANGLING
from sandbox.records.population import generate
from sandbox.records.record import TODAY
from sandbox.records.terminology import US_CORE

DIRECTORY = ("organization", "practitioner", "practitionerrole", "location", "medication")
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


@pytest.fixture(scope="module")
def population() -> list[dict[str, Any]]:
    return list(generate())


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        literal = value.get("reference")
        if isinstance(literal, str):
            yield literal
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_the_same_seed_gives_the_same_bytes(population: list[dict[str, Any]]) -> None:
    assert _ENCODE(list(generate())) == _ENCODE(population)


def test_another_seed_gives_other_bytes(population: list[dict[str, Any]]) -> None:
    assert _ENCODE(list(generate(7))) != _ENCODE(population)


def test_it_is_large_enough_and_every_id_is_unique(population: list[dict[str, Any]]) -> None:
    ids = {(r["resourceType"], r["id"]) for r in population}
    assert len(ids) == len(population)
    assert 8_000 <= len(population) <= 12_500
    assert len({r["resourceType"] for r in population}) >= 30


def test_patients_are_of_every_age(population: list[dict[str, Any]]) -> None:
    assert sum(r["resourceType"] == "Patient" for r in population) == len(PEOPLE) >= 28
    ages = [(TODAY - person.born).days // 365 for person in PEOPLE]
    assert min(ages) == 0
    assert max(ages) == 97


def test_every_user_speaks_for_patients_that_exist(population: list[dict[str, Any]]) -> None:
    known = {r["id"] for r in population if r["resourceType"] == "Patient"}
    assert {patient for user in USERS for patient, _, _ in user.patients} <= known


def test_every_category_occurs_and_sensitive_data_is_both_labelled_and_not(population: list[dict[str, Any]]) -> None:
    catalogue = load_catalogue()
    reader = FactsReader(load_definitions(), catalogue)
    everyday: Counter[str] = Counter()
    sensitive: Counter[tuple[str, bool]] = Counter()
    for resource in population:
        found = classify(reader.read(resource), catalogue)
        everyday.update(found.everyday)
        sensitive.update((code, "security" in resource.get("meta", {})) for code in found.sensitive)
    assert {c.code for c in catalogue.everyday} - set(everyday) == set()
    named = {c.code for c in catalogue.sensitive if OTHER_SENSITIVE not in c.labels}
    missing = {(code, labelled) for code in named for labelled in (True, False)} - set(sensitive)
    assert missing == set()


def test_one_record_has_conditions_in_each_part_and_in_none(population: list[dict[str, Any]]) -> None:
    catalogue = load_catalogue()
    reader = FactsReader(load_definitions(), catalogue)
    own = {"reference": "Patient/amelia-okafor"}
    conditions = [r for r in population if r["resourceType"] == "Condition" and r["subject"] == own]
    kinds = {classify(reader.read(condition), catalogue).everyday for condition in conditions}
    parts = {frozenset({"conditions", part.code}) for part in catalogue.parts_of("conditions")}
    assert kinds >= parts | {frozenset({"conditions"})}


def test_references_resolve_but_for_those_that_dangle_on_purpose(population: list[dict[str, Any]]) -> None:
    known = {f"{r['resourceType']}/{r['id']}" for r in population}
    literals = {literal for r in population for literal in _references(r) if not literal.startswith("#")}
    assert literals - known == DANGLING


US_CORE_TYPES = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "Condition",
    "Coverage",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Goal",
    "Immunization",
    "MedicationDispense",
    "MedicationRequest",
    "Observation",
    "Procedure",
    "QuestionnaireResponse",
    "RelatedPerson",
    "ServiceRequest",
    "Specimen",
]


def _of(population: list[dict[str, Any]], patient: str) -> list[dict[str, Any]]:
    """What is about a patient, and the Patient."""
    about = {"reference": f"Patient/{patient}"}
    owners = ("subject", "patient", "beneficiary")
    return [r for r in population if r["id"] == patient or about in [r.get(name) for name in owners]]


def test_one_record_has_something_of_every_type_and_profile_with_where_it_came_from(
    population: list[dict[str, Any]],
) -> None:
    mine = _of(population, COMPLETE)
    assert set(US_CORE_TYPES) <= {r["resourceType"] for r in mine}
    claimed = {profile for r in population for profile in r.get("meta", {}).get("profile", ())}
    own = {profile for r in mine for profile in r.get("meta", {}).get("profile", ())}
    directory = {f"{US_CORE}us-core-{name}" for name in DIRECTORY} | {f"{US_CORE}us-core-provenance"}
    assert claimed - own == directory
    named = {f"{r['resourceType']}/{r['id']}": r for r in mine}
    targets = [t["reference"] for r in population if r["resourceType"] == "Provenance" for t in r["target"]]
    told = {profile for name in targets if name in named for profile in named[name].get("meta", {}).get("profile", ())}
    assert own - told == set()


def test_every_record_has_a_provenance_of_each_type_in_it_that_names_the_patient(
    population: list[dict[str, Any]],
) -> None:
    for person in PEOPLE:
        patient = f"Patient/{person.id}"
        targets = [
            {t["reference"] for t in r["target"]}
            for r in population
            if r["resourceType"] == "Provenance" and {"reference": patient} in r["target"]
        ]
        types = {name.partition("/")[0] for names in targets for name in names - {patient}}
        shared = {r["resourceType"] for r in _of(population, person.id) if "security" not in r.get("meta", {})}
        assert shared - {"Patient"} <= types
        assert {patient} in targets


def test_a_group_holds_everybody(population: list[dict[str, Any]]) -> None:
    (group,) = [r for r in population if r["resourceType"] == "Group"]
    assert group["id"] == EVERYBODY
    assert [m["entity"]["reference"] for m in group["member"]] == [f"Patient/{person.id}" for person in PEOPLE]


def test_numbers_keep_their_trailing_zeros(population: list[dict[str, Any]]) -> None:
    text = _ENCODE(population)
    assert b'"value":5.50' in text
    assert b'"value":0.0010' in text
    assert b'"factor":1.50' in text


def test_resources_of_every_type_are_valid(population: list[dict[str, Any]]) -> None:
    seen: Counter[str] = Counter()
    for resource in population:
        kind = resource["resourceType"]
        seen[kind] += 1
        if seen[kind] <= 3 or resource["id"].startswith("odd-amelia"):
            get_fhir_model_class(kind).model_validate_json(_ENCODE(resource))


def test_the_profiles_that_the_metadata_name_are_those_that_the_records_name(population: list[dict[str, Any]]) -> None:
    named = {
        f"{resource['resourceType']}={profile}"
        for resource in population
        for profile in resource.get("meta", {}).get("profile", ())
        if profile.startswith(US_CORE)
    }
    assert set(PROFILES) == named
