"""A catalogue whose categories divide a type: people share a part, and the scope that is granted names it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources

import pytest
import pytest_asyncio

from tests.leaks.world import World, observation, patient, world

CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs"
_WHOLE = """    data:
      - type: Condition
"""
_DIVIDED = f"""    data:
      - type: Condition
        category: {CATEGORY}|problem-list-item

  - code: diagnoses
    title: Diagnoses
    description: What your care team found at a visit.
    data:
      - type: Condition
        category: {CATEGORY}|encounter-diagnosis
"""


def _condition(wanted: str, category: str | None) -> dict[str, object]:
    found: dict[str, object] = {
        "resourceType": "Condition",
        "id": wanted,
        "subject": {"reference": "Patient/ana"},
        "code": {"text": "x"},
    }
    if category is not None:
        found["category"] = [{"coding": [{"system": CATEGORY, "code": category}]}]
    return found


RESOURCES = [
    patient("ana"),
    observation("lab0"),
    _condition("problem", "problem-list-item"),
    _condition("diagnosis", "encounter-diagnosis"),
    _condition("neither", None),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def divided(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world whose operator has such a catalogue."""
    folder = tmp_path_factory.mktemp("divided")
    policies = folder / "policies"
    with resources.as_file(resources.files("policies") / "catalogue_files") as shipped:
        shutil.copytree(shipped, policies)
    categories = policies / "categories.yaml"
    text = categories.read_text()
    assert text.count(_WHOLE) == 1
    categories.write_text(text.replace(_WHOLE, _DIVIDED))
    async with world(await make_database(), folder / "data", RESOURCES, policy_dir=policies) as running:
        yield running


async def test_a_part_of_the_type_is_granted_by_a_granular_scope(divided: World) -> None:
    app = await divided.app(["demographics", "laboratory", "conditions"], scope=SCOPE)
    granted = str(app.token["scope"]).split()
    assert f"patient/Condition.rs?category={CATEGORY}|problem-list-item" in granted
    assert "patient/Patient.rs" in granted
    assert {"patient/Condition.rs", "patient/Observation.rs"}.isdisjoint(granted)
    assert await app.ids("Condition?patient=ana") == ["Condition/problem"]
    assert (await app.get("Condition/diagnosis")).status_code == 404


async def test_what_is_in_no_part_is_never_shared(divided: World) -> None:
    app = await divided.app(["conditions", "diagnoses"], scope=SCOPE)
    assert sorted(await app.ids("Condition?patient=ana")) == ["Condition/diagnosis", "Condition/problem"]
    assert (await app.get("Condition/neither")).status_code == 404
