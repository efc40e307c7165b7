"""Foreign FHIR servers, loaded with the Synthea patients, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.foreign_servers import INSTALL, ForeignServerUnavailable, running
from tests.interop.synthea_records import RecordsUnavailable, load, records_dir


@dataclass(frozen=True, slots=True)
class ForeignServer:
    """A running FHIR server with the Synthea patients in it."""

    name: str
    base_url: str
    resources: int

    @property
    def page_size(self) -> int:
        """A `_count` that suits it: HAPI's pages are linked, and worth following; Medplum's first page is its last."""
        return 20 if self.name == "hapi" else 200


@pytest.fixture(scope="session", params=sorted(INSTALL))
def foreign_server(request: pytest.FixtureRequest) -> Iterator[ForeignServer]:
    """Each foreign server that can run here; the others are skipped, saying what is missing."""
    try:
        directory = records_dir()
        command = INSTALL[request.param]()
    except (RecordsUnavailable, ForeignServerUnavailable) as missing:
        pytest.skip(str(missing))
    with running(command) as base_url:
        yield ForeignServer(request.param, base_url, load(base_url, directory))
