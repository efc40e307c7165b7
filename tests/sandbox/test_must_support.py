"""The complete record has every element that US Core marks as must-support, of each profile and release in the table.

US Core 6.1.0, 7.0.0, 8.0.0, "Must Support"; the table, its source and licence are in `us_core_must_support.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.r4.definitions import load_definitions
from policies.classify import classify
from sandbox.records.demographics import COMPLETE
from sandbox.records.population import generate
from sandbox.records.terminology import US_CORE

TABLE: dict[str, dict[str, str]] = yaml.safe_load(
    Path(__file__).with_name("us_core_must_support.yaml").read_text(encoding="utf-8")
)
ROWS = [(release, profile, paths.split()) for release, rows in TABLE.items() for profile, paths in rows.items()]
EVERYBODYS = frozenset({"Organization", "Practitioner", "PractitionerRole", "Location", "Medication", "Patient"})
"""Types of which any resource counts: the directory, and patients, of whom one must have died."""
_SEGMENT = re.compile(r"(\w+)(\[x\])?(?:\((.*)\))?")
_DOT = re.compile(r"\.(?![^(]*\))")


@pytest.fixture(scope="module")
def population() -> dict[str, dict[str, Any]]:
    """Every resource by `Type/id`."""
    return {f"{r['resourceType']}/{r['id']}": r for r in generate()}


def _counts(resource: dict[str, Any]) -> bool:
    about = {"reference": f"Patient/{COMPLETE}"}
    owners = [resource.get(name) for name in ("subject", "patient", "beneficiary")]
    return resource["resourceType"] in EVERYBODYS or about in owners or about in resource.get("target", ())


def _profiles(resource: dict[str, Any]) -> list[str]:
    return [profile.removeprefix(US_CORE) for profile in resource.get("meta", {}).get("profile", ())]


def _names(value: object) -> Iterator[str]:
    """Codes, systems and addresses in a value."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("code", "system", "url") and isinstance(inner, str):
                yield inner.removeprefix(US_CORE)
            yield from _names(inner)


def _found(nodes: list[Any], path: str) -> list[Any]:
    for segment in _DOT.split(path):
        match = _SEGMENT.fullmatch(segment)
        assert match is not None, f"not a path: `{path}`"
        name, choice, wanted = match.groups()
        spelled = re.compile(rf"_?{name}" + ("[A-Z].*" if choice else ""))
        values = [v for n in nodes if isinstance(n, dict) for k, v in n.items() if spelled.fullmatch(k)]
        nodes = [item for value in values for item in (value if isinstance(value, list) else [value])]
        if wanted:
            nodes = [node for node in nodes if not set(wanted.split("|")).isdisjoint(_names(node))]
    return nodes


def _says(population: dict[str, dict[str, Any]], resources: list[dict[str, Any]], row: str) -> bool:
    path, _, target = row.partition(">")
    found = _found(list(resources), path)
    if not target:
        return bool(found)
    named = [population.get(node.get("reference", "")) for node in found if isinstance(node, dict)]
    return any(r is not None and target in (r["resourceType"], *_profiles(r)) for r in named)


@pytest.mark.parametrize(("release", "profile", "rows"), ROWS, ids=[f"{release} {name}" for release, name, _ in ROWS])
def test_every_must_support_element_of_a_profile_is_there(
    population: dict[str, dict[str, Any]], release: str, profile: str, rows: list[str]
) -> None:
    claiming = [r for r in population.values() if profile in _profiles(r) and _counts(r)]
    assert claiming
    assert [row for row in rows if not _says(population, claiming, row)] == []


def test_what_claims_a_profile_can_be_shared(population: dict[str, dict[str, Any]]) -> None:
    """No profile of the table is there in resources only that no category of the catalogue opens."""
    catalogue = load_catalogue()
    reader = FactsReader(load_definitions(), catalogue)
    shared: set[str] = set()
    for resource in population.values():
        if _counts(resource) and classify(reader.read(resource), catalogue).everyday:
            shared.update(_profiles(resource))
    assert {name for _, name, _ in ROWS} - shared == set()


def test_every_pulse_oximetry_has_both_codes_of_its_profile(population: dict[str, dict[str, Any]]) -> None:
    measured = [r for r in population.values() if "us-core-pulse-oximetry" in _profiles(r)]
    assert len(measured) > 20
    for found in measured:
        assert {"59408-5", "2708-6"} <= {coding["code"] for coding in found["code"]["coding"]}


def test_an_element_that_is_not_there_would_be_missed(population: dict[str, dict[str, Any]]) -> None:
    """The path language itself: what is there is found, what isn't, isn't."""
    patients = [r for r in population.values() if "us-core-patient" in _profiles(r)]
    for row in ("extension(us-core-race)", "name.given", "deceased[x]", "generalPractitioner>us-core-practitioner"):
        assert _says(population, patients, row), row
    for row in ("extension(us-core-rice)", "name.given.system", "photo", "generalPractitioner>us-core-organization"):
        assert not _says(population, patients, row), row
