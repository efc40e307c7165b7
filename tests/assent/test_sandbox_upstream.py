"""The built-in upstream: loaded once an edition, reached over a real socket with its token only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.commands.sandbox import made_by
from assent.progress import Progress
from assent.sandbox_mode.upstream import Dataset, built_in_upstream
from fhir.r4.definitions import Definitions, load_definitions


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


def patient(id: str) -> dict[str, object]:
    return {"resourceType": "Patient", "id": id, "active": True}


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


async def test_dataset_is_loaded_once_an_edition_and_replaced_by_another(
    engine: AsyncEngine, definitions: Definitions
) -> None:
    made: list[str] = []

    def resources(id: str) -> Iterator[dict[str, object]]:
        made.append(id)
        yield patient(id)

    for edition, id in (("one", "p1"), ("one", "p1"), ("two's", "p2"), ("two's", "p2")):
        dataset = Dataset(edition, lambda id=id: resources(id))  # type: ignore[misc]  # a default binds the loop's value
        said: list[str] = []
        async with built_in_upstream(
            engine, definitions, dataset, clock=now, progress=Progress(said.append)
        ) as upstream:
            async with httpx.AsyncClient(headers={"authorization": f"Bearer {upstream.bearer_token}"}) as http:
                assert (await http.get(f"{upstream.url}/Patient/{id}")).status_code == 200
            async with httpx.AsyncClient() as http:
                assert (await http.get(f"{upstream.url}/Patient/{id}")).status_code == 401
            assert upstream.bearer_token not in repr(upstream)
    assert made == ["p1", "p2"]


def test_the_edition_follows_the_generator_and_how_resources_are_stored_and_indexed() -> None:
    names = [file.name for file in made_by()]
    assert names[-3:] == ["tables.py", "values.py", "r4.json.gz"]
    assert "population.py" in names
    assert all(file.is_file() for file in made_by())
