"""`assent consent` and `assent audit`, beside a server whose patients have decided something."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from assent.commands import consent as consent_module
from assent.policy_files import load_catalogue
from authz.consents.decisions import Choice, Decisions
from tests.assent.commands import CommandLine
from tests.conftest import MakeDatabase
from tests.leaks.world import App, World, observation, patient, world
from tests.waiting import soon

RESOURCES = [patient("ana"), patient("bob"), observation("lab0")]
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, CommandLine]]:
    url, folder = await make_database(), tmp_path_factory.mktemp("consents")
    async with world(url, folder, RESOURCES) as running:
        yield running, CommandLine(url, folder)


async def test_list_shows_who_what_and_how_long(place: tuple[World, CommandLine]) -> None:
    here, assent = place
    app = await here.app(["laboratory", "hiv"], scope="launch/patient patient/*.rs")
    result = await assent.run("consent", "list", "--patient", "ana", "--json")
    assert result.exit_code == 0
    row = next(row for row in json.loads(result.stdout) if row["client"] == app.client_id)
    assert (row["patient"], row["status"], row["state"], row["version"]) == ("ana", "active", "limited", 1)
    assert row["categories"] == ["laboratory", "hiv"]
    assert row["until"] > datetime.now(UTC).isoformat()
    assert json.loads((await assent.run("consent", "list", "--patient", "bob", "--json")).stdout) == []
    table = (await assent.run("consent", "list")).stdout
    assert table.startswith("id ")
    assert app.client_id in table


async def test_list_shows_every_page(place: tuple[World, CommandLine], monkeypatch: pytest.MonkeyPatch) -> None:
    here, assent = place
    clients = {(await here.app(["laboratory"])).client_id for _ in range(3)}
    monkeypatch.setattr(consent_module, "PAGE", 2)
    rows = json.loads((await assent.run("consent", "list", "--json")).stdout)
    assert clients <= {row["client"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows)


async def test_a_consent_that_is_over_is_expired(place: tuple[World, CommandLine]) -> None:
    here, assent = place
    app = await here.app(["laboratory"], until=datetime.now(UTC) + timedelta(seconds=60))
    consent = await app.consent_id()
    stored = await here.assent.authz.repository.read("Consent", consent)
    assert stored is not None
    later = consent_module.summary(stored, load_catalogue(), datetime.now(UTC) + timedelta(seconds=61))
    assert (later["status"], later["state"]) == ("active", "expired")
    assert (await assent.run("consent", "show", consent)).exit_code == 0


async def test_show_prints_the_fhir_json_and_history_every_version(place: tuple[World, CommandLine]) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    consent = await app.consent_id()
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, here.text)
    await Decisions(here.assent.authz).change(consent, here.account, choice, "test")
    shown = json.loads((await assent.run("consent", "show", consent)).stdout)
    assert (shown["resourceType"], shown["id"], shown["meta"]["versionId"]) == ("Consent", consent, "2")
    versions = json.loads((await assent.run("consent", "history", f"Consent/{consent}", "--json")).stdout)
    assert [(v["version"], v["categories"]) for v in versions] == [(2, ["vital-signs"]), (1, ["laboratory"])]
    assert versions[1]["resource"]["meta"]["versionId"] == "1"
    assert "laboratory" in (await assent.run("consent", "history", consent)).stdout


async def _is_refused(app: App) -> bool:
    """Another process made the change: this one hears of it."""

    async def refused() -> bool:
        return (await app.get("Observation/lab0")).status_code == 401

    return await soon(refused)


async def test_revoke_ends_access_at_once_and_says_who_did(place: tuple[World, CommandLine]) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200
    consent = await app.consent_id()
    result = await assent.run("consent", "revoke", consent, "--reason", "asked by phone", "--json")
    assert (result.exit_code, len(json.loads(result.stdout)["grants"])) == (0, 1)
    assert await _is_refused(app)
    rows = json.loads((await assent.run("consent", "list", "--json")).stdout)
    row = next(row for row in rows if row["id"] == consent)
    assert (row["status"], row["state"], row["version"]) == ("inactive", "revoked", 2)
    lines = (await assent.run("audit", "export", "--patient", "ana")).stdout.splitlines()
    event = next(e for e in map(json.loads, lines) if "asked by phone" in e.get("outcomeDesc", ""))
    assert event["agent"][0]["who"]["identifier"]["value"].startswith("operator:")
    assert f"Consent/{consent}" in json.dumps(event["entity"])
    again = await assent.run("consent", "revoke", consent, "--json")
    assert (again.exit_code, json.loads(again.stdout)["grants"]) == (0, [])
    assert (await here.assent.authz.repository.read("Consent", consent)).version == 2  # type: ignore[union-attr]  # it was just listed


@pytest.mark.parametrize("verb", ["show", "history", "revoke"])
async def test_an_unknown_consent_is_a_no(place: tuple[World, CommandLine], verb: str) -> None:
    result = await place[1].run("consent", verb, NOBODY)
    assert result.exit_code == 1
    assert "assent consent list" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("consent", "list", "--patient", "ana,bob"),
        ("consent", "show", "a|b"),
        ("consent", "revoke", NOBODY, "--reason", "x" * 201),
        ("consent", "nonsense"),
        ("audit", "export", "--since", "yesterday"),
        ("audit", "export", "--patient", "*"),
        ("audit", "nonsense"),
    ],
)
async def test_misuse_exits_2(place: tuple[World, CommandLine], arguments: tuple[str, ...]) -> None:
    assert (await place[1].run(*arguments)).exit_code == 2


async def test_audit_export_is_ndjson_oldest_first_across_pages(
    place: tuple[World, CommandLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    for _ in range(3):
        await app.get("Observation/lab0")
    whole = (await assent.run("audit", "export")).stdout.splitlines()
    monkeypatch.setattr(consent_module, "PAGE", 2)
    paged = (await assent.run("audit", "export")).stdout.splitlines()
    assert paged == whole
    events = [json.loads(line) for line in whole]
    assert {event["resourceType"] for event in events} == {"AuditEvent"}
    assert len({event["id"] for event in events}) == len(events)
    assert [e["recorded"] for e in events] == sorted(e["recorded"] for e in events)
    assert (await assent.run("audit", "export", "--patient", "bob")).stdout == ""


async def test_audit_export_keeps_to_the_time_asked_for(place: tuple[World, CommandLine]) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    await app.get("Observation/lab0")
    today = datetime.now(UTC).date()
    tomorrow, yesterday = str(today + timedelta(days=1)), str(today - timedelta(days=1))
    assert (await assent.run("audit", "export", "--since", tomorrow)).stdout == ""
    assert (await assent.run("audit", "export", "--until", yesterday)).stdout == ""
    some = await assent.run("audit", "export", "--since", yesterday, "--until", tomorrow)
    assert app.client_id in some.stdout


def test_a_line_keeps_numbers_as_they_are_written() -> None:
    assert consent_module.on_one_line(b'{"a":\n 1.10, "b": "x\\ny"}') == '{"a":1.10,"b":"x\\ny"}\n'
