"""L25: writes to several upstreams. Each goes to its type's, and to one that is down for a while nothing is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from fhir.audit.event import UPSTREAM_DETAIL
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from fhir.upstream.circuit_breaker import CircuitBreaker
from tests.leaks.several import Several, several
from tests.leaks.world import ACT_CODE, observation, patient
from tests.leaks.writes import new_observation, said, stored, writer

ENCOUNTER: dict[str, object] = {
    "resourceType": "Encounter",
    "id": "visit",
    "status": "finished",
    "class": {"system": ACT_CODE, "code": "AMB"},
    "subject": {"reference": "Patient/ana"},
}
HELD: list[dict[str, object]] = [patient("ana"), ENCOUNTER, observation("plain")]


@pytest_asyncio.fixture(loop_scope="session")
async def place(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Several]:
    """Both upstreams hold the same; the laboratory, which has Observations, is given up after two failures."""
    folder = tmp_path_factory.mktemp("several")
    given = {"failures": 2, "pause_seconds": 600}
    async with several(make_database, folder, HELD, lambda _: HELD, writes=True, **given) as running:
        yield running


def _breakers(place: Several) -> dict[str, CircuitBreaker]:
    return {one.name: one.client.breaker for one in place.world.assent.upstreams}


async def _recorded(place: Several) -> list[tuple[str, str, str]]:
    """Action, outcome and how the description begins, of each create on record; sorted, as some share a moment."""
    await place.world.assent.audit.settle("ana")
    pairs = [("patient", "Patient/ana"), ("_count", "500")]
    page = await place.world.assent.authz.repository.search(
        parse_search("AuditEvent", pairs, load_definitions(), max_count=500)
    )
    found = [json.loads(row.body) for row in page.matches]
    events = [event for event in found if event["subtype"][0]["code"] == "create" and "outcomeDesc" in event]
    for event in events:
        details = [detail for entity in event["entity"] for detail in entity.get("detail", ())]
        assert [d["valueString"] for d in details if d["type"] == UPSTREAM_DETAIL] == ["lab"]
    return sorted((event["action"], event["outcome"], event["outcomeDesc"][:8]) for event in events)


@pytest.mark.leak("L25")
async def test_l25_each_write_goes_to_the_upstream_of_its_type_only(place: Several) -> None:
    app = await writer(place.world)
    with place.ehr.listening() as of_ehr, place.lab.listening() as of_lab:
        made = await app.send("POST", "Observation", new_observation())
        changed = await app.send("PUT", "Observation/plain", new_observation(id="plain", status="amended"))
        ended = await app.send("DELETE", "Encounter/visit")
    assert (made.status_code, changed.status_code, ended.status_code) == (201, 200, 204)
    assert made.headers["x-assent-source"] == "lab"
    assert [asked.method for asked in of_lab if asked.method != "GET"] == ["POST", "PUT"]
    assert [asked.method for asked in of_ehr if asked.method != "GET"] == ["DELETE"]
    assert (await stored(place.world, "Observation/plain"))["status"] == "final"


@pytest.mark.leak("L25", "L48")
async def test_l25_l48_a_url_that_is_new_leads_into_no_upstream(place: Several) -> None:
    app = await writer(place.world)
    for upstream in (place.ehr, place.lab):
        report = {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/ana"},
            "presentedForm": [{"url": f"{upstream.url}/Binary/b"}],
        }
        assert said(await app.send("POST", "DiagnosticReport", report)) == (422, "business-rule")


@pytest.mark.leak("L25")
@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_l25_writes_that_fail_open_the_breaker_and_none_is_sent_while_it_is_open(
    place: Several, status: int
) -> None:
    app = await writer(place.world)
    with place.lab.failing_writes(status):
        for _ in range(2):
            assert said(await app.send("POST", "Observation", new_observation())) == (502, "transient")
    assert {name: breaker.state for name, breaker in _breakers(place).items()} == {"ehr": "closed", "lab": "open"}
    with place.lab.listening() as of_lab:
        refused = await app.send("POST", "Observation", new_observation())
        assert said(refused) == (503, "transient")
        assert 1 <= int(refused.headers["retry-after"]) <= 600
        assert said(await app.send("DELETE", "Observation/plain")) == (503, "transient")
    assert of_lab == []
    begun, unknown = ("C", "0", "intended"), ("C", "8", "it isn't")
    assert await _recorded(place) == sorted([begun, unknown, begun, unknown, begun, ("C", "8", "not done")])


@pytest.mark.leak("L25")
@pytest.mark.parametrize("status", [400, 409, 412, 422, 500])
async def test_l25_a_write_that_is_refused_by_an_upstream_that_runs_opens_nothing(place: Several, status: int) -> None:
    app = await writer(place.world)
    with place.lab.failing_writes(status):
        for _ in range(3):
            assert (await app.send("POST", "Observation", new_observation())).status_code in (422, 502)
    assert _breakers(place)["lab"].state == "closed"
