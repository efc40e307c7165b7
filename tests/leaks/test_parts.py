"""What lies outside a shared part of a category is as if it weren't there: two worlds of which one doesn't have it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.authz.test_parts_of_a_type import HL7, RESOURCES, US_CORE
from tests.conftest import MakeDatabase
from tests.leaks.twins import Twins, twins
from tests.leaks.world import world

WITHHELD = {"problem", "concern", "neither"}
REQUESTS = (
    *(f"Condition/{name}" for name in ("problem", "concern", "neither", "diagnosis", "absent")),
    *("Condition/problem/_history", "Condition/problem/_history/1"),
    *("Condition", "Condition?patient=ana", "Condition?patient=ana&_count=1", "Condition?_id=problem,diagnosis"),
    *("Condition?patient=ana&_sort=-_lastUpdated", "Condition?patient=ana&_total=accurate"),
    *(f"Condition?category={HL7}|{code}" for code in ("problem-list-item", "encounter-diagnosis")),
    *(f"Condition?category={US_CORE}|health-concern", "Condition?category=problem-list-item"),
    *("Condition?category:not=encounter-diagnosis", "Condition?category:missing=true", "Condition?code:text=x"),
    *("Condition?encounter=Encounter/visit", "Encounter?_include=Encounter:diagnosis", "Encounter/visit"),
    *("Encounter?diagnosis=Condition/problem", "Encounter?_revinclude=Condition:encounter"),
    *("Patient/ana/$everything", "Patient/ana/$everything?_type=Condition", "?_type=Condition"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Twins]:
    """An app with one part of Conditions in both."""
    left = [resource for resource in RESOURCES if resource["id"] not in WITHHELD]
    folder = tmp_path_factory.mktemp("parts")
    async with (
        world(await make_database(), folder / "with", RESOURCES) as one,
        world(await make_database(), folder / "without", left) as other,
    ):
        yield await twins(one, other, ["demographics", "encounters", "visit-diagnoses"])


@pytest.mark.parametrize("request_", REQUESTS)
async def test_nothing_tells_whether_there_is_more_than_the_part(pair: Twins, request_: str) -> None:
    await pair.same_seen([request_], pages=3)


async def test_the_part_itself_is_seen_so_that_the_comparison_means_something(pair: Twins) -> None:
    assert set(await pair.one.ids("Condition?patient=ana")) == {"Condition/diagnosis", "Condition/both"}
