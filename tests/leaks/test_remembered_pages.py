"""A page that is asked for again is decided as if it were asked for the first time (docs/decisions/0010)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.authz.consent_recorder import category, consent, grantee, recorder
from tests.leaks.world import ACT_CODE, App, World, observation, patient, world

NOTE = [{"text": "felt well"}]
SEARCH = "Observation?_count=50&_sort=_id"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    resources = [
        patient("ana"),
        observation("lab0", note=NOTE),
        observation("lab1"),
        observation("vital0", category="vital-signs"),
    ]
    async with world(await make_database(), tmp_path_factory.mktemp("pages"), resources) as running:
        yield running


async def often(app: App, search: str = SEARCH) -> list[str]:
    """What is found, the same each time."""
    first = await app.ids(search)
    for _ in range(3):
        assert await app.ids(search) == first
    return first


@pytest.mark.leak("L62")
async def test_l62_a_consent_that_changes_counts_on_the_next_page(here: World) -> None:
    app, clerk = await here.app(["laboratory", "vital-signs"]), await recorder(here)
    assert await often(app) == ["Observation/lab0", "Observation/lab1", "Observation/vital0"]
    deny = {"type": "deny", "actor": grantee(app.client_id), "class": category("vital-signs")}
    made = await clerk.created(consent(deny))
    assert await often(app) == ["Observation/lab0", "Observation/lab1"]
    assert (await clerk.send("DELETE", f"Consent/{made['id']}")).status_code == 204
    assert await often(app) == ["Observation/lab0", "Observation/lab1", "Observation/vital0"]


@pytest.mark.leak("L01")
async def test_l01_what_becomes_sensitive_upstream_is_withheld_on_the_next_page(here: World) -> None:
    app = await here.app(["laboratory"])
    assert await often(app) == ["Observation/lab0", "Observation/lab1"]
    labelled: dict[str, Any] = {"meta": {"security": [{"system": ACT_CODE, "code": "HIV"}]}}
    await here.upstream.write([observation("lab1", **labelled)])
    assert await often(app) == ["Observation/lab0"]
    await here.upstream.write([observation("lab1")])
    assert await often(app) == ["Observation/lab0", "Observation/lab1"]


@pytest.mark.leak("L01")
async def test_l01_what_a_bundle_is_called_anew_each_time_changes_nothing_and_what_stands_in_it_does(
    here: World,
) -> None:
    app = await here.app(["laboratory"])
    seen = [observation("lab0"), observation("vital0", category="vital-signs"), observation("lab1")]
    for number, shown in enumerate([seen, seen, seen, seen[1:], seen]):
        entries = json.dumps([{"resource": one} for one in shown], separators=(",", ":"))
        head = f'{{"resourceType":"Bundle","id":"{number}","type":"searchset"'
        with here.upstream.saying("/Observation", f'{head},"entry":{entries}}}'.encode()):
            expected = ["Observation/lab0", "Observation/lab1"] if shown is seen else ["Observation/lab1"]
            assert await app.ids(SEARCH) == expected


async def test_elements_and_purposes_have_pages_of_their_own(here: World) -> None:
    own, research = await here.app(["laboratory"]), await here.app(["laboratory"], purpose="HRESCH")

    async def found(app: App, more: str = "") -> str:
        answers = {(await app.get(SEARCH + more)).text for _ in range(4)}
        return answers.pop() if len(answers) == 1 else "different"

    whole, some, masked = await found(own), await found(own, "&_elements=code"), await found(research)
    assert ("effectiveDateTime" in whole, "effectiveDateTime" in some, '"code"' in some) == (True, False, True)
    assert len({whole, some, masked, "different"}) == 4


async def test_every_page_is_recorded_however_often_it_is_asked_for(here: World) -> None:
    app = await here.app(["laboratory", "sharing-record"])
    await often(app)
    entries = (await app.get("AuditEvent?_count=200")).json()["entry"]
    mine = [e for e in entries if app.client_id in str(e) and "Observation/lab0" in str(e)]
    assert len(mine) == 4
