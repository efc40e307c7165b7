"""`assent consent grant`: what a patient decided about a service, recorded by an operator beside a running server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from authz.consents.decisions import Choice, Decisions
from tests.assent.commands import CommandLine
from tests.conftest import MakeDatabase
from tests.leaks.service import Service, service
from tests.leaks.world import World, observation, patient, world
from tests.waiting import soon

RESOURCES = [patient("ana"), patient("bob"), observation("lab0"), observation("vital0", category="vital-signs")]
Place = tuple[World, CommandLine]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url, folder = await make_database(), tmp_path_factory.mktemp("grants")
    async with world(url, folder, RESOURCES) as running:
        yield running, CommandLine(url, folder)


def _grant(client: str, *categories: str, patient: str = "ana", note: str = "form 12, signed") -> list[str]:
    named = [word for code in categories for word in ("--category", code)]
    return ["consent", "grant", "--patient", patient, "--client", client, *named, "--note", note, "--json"]


async def _comes_to(app: Service, path: str, status: int) -> None:
    """Another process made the change: this one hears of it."""

    async def answered() -> bool:
        return (await app.get(path)).status_code == status

    assert await soon(answered)


async def test_what_is_recorded_opens_at_once_and_says_who_recorded_it(place: Place) -> None:
    here, assent = place
    app = await service(here, {})
    assert (await app.get("Observation/lab0")).status_code == 404
    done = await assent.run(*_grant(app.client_id, "laboratory", note="paper in drawer 7"))
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["patient"], said["client"], said["version"]) == ("ana", app.client_id, 1)
    await _comes_to(app, "Observation/lab0", 200)
    assert (await app.get("Observation/vital0")).status_code == 404
    row = next(r for r in json.loads((await assent.run("consent", "list", "--json")).stdout) if r["id"] == said["id"])
    assert (row["state"], row["categories"]) == ("limited", ["laboratory"])
    consent = json.loads((await assent.run("consent", "show", said["id"])).stdout)
    assert consent["performer"] == [{"reference": "Patient/ana", "display": "Ana"}]
    lines = (await assent.run("audit", "export", "--patient", "ana")).stdout.splitlines()
    event = next(e for e in map(json.loads, lines) if "paper in drawer 7" in e.get("outcomeDesc", ""))
    assert "operator:" in json.dumps(event["agent"])


async def test_a_second_decision_is_the_next_version_and_after_a_revocation_there_is_a_new_consent(
    place: Place,
) -> None:
    here, assent = place
    app = await service(here, {})
    first = json.loads((await assent.run(*_grant(app.client_id, "laboratory"))).stdout)
    second = json.loads((await assent.run(*_grant(app.client_id, "vital-signs"), "--until", "2999-12-31")).stdout)
    assert (second["id"], second["version"]) == (first["id"], 2)
    await _comes_to(app, "Observation/lab0", 404)
    await _comes_to(app, "Observation/vital0", 200)
    assert (await assent.run("consent", "revoke", first["id"])).exit_code == 0
    await _comes_to(app, "Observation/vital0", 404)
    third = json.loads((await assent.run(*_grant(app.client_id, "laboratory"))).stdout)
    assert third["id"] != first["id"]
    await _comes_to(app, "Observation/lab0", 200)


async def test_the_patient_changes_and_revokes_it_like_any_other(place: Place) -> None:
    here, assent = place
    app = await service(here, {})
    consent = json.loads((await assent.run(*_grant(app.client_id, "laboratory"))).stdout)["id"]
    await _comes_to(app, "Observation/lab0", 200)
    decisions = Decisions(here.assent.authz)
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, here.text)
    await decisions.change(consent, here.account, choice, "test")
    assert (await app.get("Observation/lab0")).status_code == 404
    assert (await app.get("Observation/vital0")).status_code == 200
    await decisions.revoke(consent, here.account, "test")
    assert (await app.get("Observation/vital0")).status_code == 404


@pytest.mark.parametrize(
    ("categories", "why"),
    [
        (["nonsense"], "is no category that the service's scopes reach"),
        (["conditions"], "is no category that the service's scopes reach"),
        (["directory"], "is no category that the service's scopes reach"),
        (["hiv"], "opens nothing by itself"),
    ],
)
async def test_what_the_service_could_not_get_is_not_recorded(place: Place, categories: list[str], why: str) -> None:
    here, assent = place
    app = await service(here, {}, registered="system/Observation.rs")
    refused = await assent.run(*_grant(app.client_id, *categories, patient="bob"))
    assert (refused.exit_code, why in refused.stderr) == (1, True)
    assert json.loads((await assent.run("consent", "list", "--patient", "bob", "--json")).stdout) == []


async def test_about_other_apps_people_decide_themselves(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    for client in (app.client_id, "nobody"):
        refused = await assent.run(*_grant(client, "laboratory", patient="bob"))
        assert refused.exit_code == 1
    past = await assent.run(*_grant((await service(here, {})).client_id, "laboratory"), "--until", "2020-01-01")
    assert (past.exit_code, "in the past" in past.stderr) == (1, True)
    assert json.loads((await assent.run("consent", "list", "--patient", "bob", "--json")).stdout) == []


@pytest.mark.parametrize(
    "change",
    [
        {"--patient": "a,b"},
        {"--until": "soon"},
        {"--note": " "},
        {"--note": "x" * 201},
        {"--category": None},
        {"--note": None},
    ],
)
async def test_misuse_exits_2(place: Place, change: dict[str, str | None]) -> None:
    usual = {"--patient": "ana", "--client": "c", "--category": "laboratory", "--note": "n", "--until": "2999"}
    given: dict[str, str | None] = {**usual, **change}
    arguments = [word for name, value in given.items() if value is not None for word in (name, value)]
    assert (await place[1].run("consent", "grant", *arguments)).exit_code == 2
