"""One server for all tests of conformance; each launches an app of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.leaks.world import World, observation, patient, world

RESOURCES: list[dict[str, object]] = [
    patient("ana", link=[{"other": {"reference": "Patient/bob"}, "type": "seealso"}]),
    patient("bob"),
    observation(
        "lab0", performer=[{"reference": "Practitioner/doc"}], derivedFrom=[{"reference": "MolecularSequence/dna"}]
    ),
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Doc"}]},
    {"resourceType": "MolecularSequence", "id": "dna", "coordinateSystem": 0, "patient": {"reference": "Patient/ana"}},
    observation("vital0", category="vital-signs"),
    observation("bob0", "bob"),
    {
        "resourceType": "Condition",
        "id": "flu",
        "subject": {"reference": "Patient/ana"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J10.1"}]},
    },
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The whole server in front of two patients who are linked."""
    folder: Path = tmp_path_factory.mktemp("conformance")
    async with world(await make_database(), folder, RESOURCES) as running:
        yield running
