"""Two worlds that differ only in what is withheld: whatever a writer does, it observes the same in both (L44-L47)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.leaks.world import observation, patient
from tests.leaks.write_twins import HIDDEN_ONLY, SCOPES, Worlds, read_both, send_both, writable_twins, writers
from tests.leaks.writes import HIV, HIV_CODE, NARRATIVE, SECRET, new_observation


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(make_database: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    async with writable_twins(make_database, tmp_path_factory) as both:
        yield both


_CHANGES: list[dict[str, Any]] = [
    {},
    {"status": "amended"},
    {"performer": None},
    {"performer": [{"reference": "Practitioner/doc"}]},
    {"performer": [{"reference": "Practitioner/doc"}, {"reference": "Practitioner/doc"}]},
    {"performer": [{"reference": "Patient/ana"}]},
    {"extension": [{"url": "http://x/hidden", "valueString": SECRET[:3]}]},
    {"text": NARRATIVE},
    {"text": None},
    {"meta": None},
    {"meta": {"security": [], "tag": [{"code": "x"}]}},
    {"focus": [{"reference": "Observation/hiv-label"}]},
    {"focus": [{"reference": "Observation/bobs"}]},
    {"note": [{"text": "x", "extension": [{"url": "http://y", "valueAttachment": {"url": "Binary/hidden"}}]}]},
    {"focus": [{"reference": "Patient/bob"}]},
    {"code": {"coding": [{"system": "http://loinc.org", "code": HIV_CODE}]}},
    {"subject": {"reference": "Patient/bob"}},
    {"note": [{"text": "x"}]},
    {"note": None, "valueQuantity": None},
    {"category": None},
]


@pytest.mark.leak("L44", "L45", "L46", "L47")
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("changed", _CHANGES, ids=lambda changed: str(changed)[:50])
async def test_l46_what_is_withheld_changes_nothing_that_a_writer_observes(
    pair: Worlds, scope: str, changed: dict[str, Any]
) -> None:
    apps = await writers(pair, scope)
    reader = await writers(pair, "launch/patient patient/*.rs")
    shown = (await read_both(reader, "Observation/rich")).json()
    body = {name: value for name, value in (shown | changed).items() if value is not None}
    await send_both(apps, "PUT", "Observation/rich", body)
    await read_both(apps, "Observation/rich")
    patch = [{"op": "add" if v is not None else "remove", "path": f"/{n}", "value": v} for n, v in changed.items()]
    await send_both(apps, "PATCH", "Observation/rich", patch or [{"op": "test", "path": "/text", "value": NARRATIVE}])
    await read_both(apps, "Observation/rich")
    await send_both(apps, "DELETE", "Observation/rich")
    created = {name: value for name, value in body.items() if name not in ("id", "meta")}
    await send_both(apps, "POST", "Observation", created)
    await read_both(apps, "Observation?_sort=_lastUpdated&_count=3&_elements=status")


@pytest.mark.leak("L44", "L45", "L47")
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("wanted", [*HIDDEN_ONLY, "Patient/bob", "Observation/never-there"])
async def test_l45_what_is_withheld_is_as_absent_to_a_writer(pair: Worlds, scope: str, wanted: str) -> None:
    apps = await writers(pair, scope)
    kind, _, name = wanted.partition("/")
    body: object = patient(name) if kind == "Patient" else observation(name, subject={"reference": "Patient/ana"})
    for headers in ({}, {"If-Match": 'W/"1"'}, {"If-Match": 'W/"2"'}, {"If-Match": "*"}, {"If-None-Match": "*"}):
        assert (await send_both(apps, "PUT", wanted, body, **headers)).status_code in (403, 404, 501)
        assert (await send_both(apps, "DELETE", wanted, **headers)).status_code in (403, 404, 405, 501)
        patch = [{"op": "test", "path": "/meta/security", "value": HIV["security"]}]
        assert (await send_both(apps, "PATCH", wanted, patch, **headers)).status_code in (403, 404, 501)
    pointing = new_observation(derivedFrom=[{"reference": wanted}])
    assert (await send_both(apps, "POST", "Observation", pointing)).status_code in (403, 422)


@pytest.mark.leak("L46")
async def test_l46_after_changes_of_the_patient_the_rest_is_as_hidden_as_before(pair: Worlds) -> None:
    apps = await writers(pair, SCOPES[0])
    for changed in ({"birthDate": "1980-05-18"}, {"telecom": None}, {"photo": [{"title": "x"}]}, {"name": None}):
        shown = (await read_both(apps, "Patient/ana")).json()
        body = {name: value for name, value in (shown | changed).items() if value is not None}
        await send_both(apps, "PUT", "Patient/ana", body)
        await read_both(apps, "Patient/ana")
