"""`assent audit verify`, `checkpoint` and `export --evidence`, beside a server that records what happens."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.assent.commands import CommandLine
from tests.conftest import MakeDatabase
from tests.leaks.world import World, client_of, observation, patient, world

RESOURCES = [patient("ana"), patient("bob"), observation("lab0")]
Place = tuple[World, CommandLine]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url, folder = await make_database(), tmp_path_factory.mktemp("audit")
    async with world(url, folder, RESOURCES) as running:
        app = await running.app(["laboratory"])
        for _ in range(3):
            assert (await app.get("Observation/lab0")).status_code == 200
        yield running, CommandLine(url, folder)


async def _execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


async def test_what_the_server_recorded_verifies(place: Place) -> None:
    assent = place[1]
    await assent.run("audit", "checkpoint")
    result = await assent.run("audit", "verify", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["ok"], found["defect"], found["left_in_journal"], found["adopted"]) == (True, None, 0, 0)
    assert found["entries"] >= 4
    assert found["checkpoints"] >= 1
    assert "entries" in (await assent.run("audit", "verify")).stdout


async def test_a_server_that_shuts_down_signs_what_it_recorded(database_url: str, tmp_path: Path) -> None:
    async with world(database_url, tmp_path, RESOURCES) as running:
        await (await running.app(["laboratory"])).get("Observation/lab0")
        await running.assent.audit.settle()
    found = json.loads((await CommandLine(database_url, tmp_path).run("audit", "verify", "--json")).stdout)
    assert (found["ok"], found["checkpoints"], found["since_checkpoint"]) == (True, 1, 0)
    assert found["entries"] >= 2


async def test_a_changed_event_is_a_no_that_names_it(place: Place) -> None:
    here, assent = place
    await assent.run("audit", "checkpoint")
    body = "fhir_resource SET body = convert_to(replace(convert_from(body, 'UTF8'), '{}', '{}'), 'UTF8')"
    which = " WHERE id = (SELECT event_id FROM assent.audit_chain WHERE seq = 2)"
    await _execute(here.assent.engine, "UPDATE assent." + body.format('"AuditEvent"', '"AuditEvenT"') + which)
    try:
        result = await assent.run("audit", "verify")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "content-changed at entry `2`, AuditEvent `" in result.stderr
        result = await assent.run("audit", "verify", "--json")
        defect = json.loads(result.stdout)["defect"]
        assert (result.exit_code, defect["kind"], defect["seq"]) == (1, "content-changed", 2)
    finally:
        await _execute(here.assent.engine, "UPDATE assent." + body.format('"AuditEvenT"', '"AuditEvent"') + which)
    assert (await assent.run("audit", "verify")).exit_code == 0


async def test_a_checkpoint_printed_and_kept_fits_later(place: Place, tmp_path: Path) -> None:
    here, assent = place
    printed = await assent.run("audit", "checkpoint")
    assert (printed.exit_code, printed.stdout.count(".")) == (0, 2)
    shown = json.loads((await assent.run("audit", "checkpoint", "--json")).stdout)
    assert shown["jws"] == printed.stdout.strip()
    kept = tmp_path / "checkpoint.jws"
    kept.write_text(printed.stdout)
    await (await here.app(["laboratory"])).get("Observation/lab0")
    assert (await assent.run("audit", "verify", "--checkpoint", str(kept))).exit_code == 0
    kept.write_text("not a checkpoint")
    refused = await assent.run("audit", "verify", "--checkpoint", str(kept))
    assert (refused.exit_code, refused.stderr.startswith("signature")) == (1, True)


async def test_evidence_is_one_private_file_that_holds_without_a_database(place: Place, tmp_path: Path) -> None:
    here, assent = place
    result = await assent.run("audit", "export", "--patient", "ana", "--evidence", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    (name,) = os.listdir(tmp_path)
    file = tmp_path / name
    assert written["file"] == str(file)
    lines = (await assent.run("audit", "export", "--patient", "ana")).stdout.splitlines()
    assert written["events"] == len(lines) >= 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with client_of(here.assent) as http:
        keys = tmp_path / "keys.json"
        keys.write_bytes((await http.get("/jwks")).content)
    nowhere = CommandLine("postgresql://nobody@127.0.0.1:9/nothing", tmp_path / "none")
    result = await nowhere.run("audit", "verify", "--pack", str(file), "--jwks", str(keys), "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["key_expected"]) == (0, True, True)
    assert (found["events"], found["patient"], found["defect"]) == (written["events"], "ana", None)
    for others in ('{"keys": []}', "no keys"):
        keys.write_text(others)
        result = await nowhere.run("audit", "verify", "--pack", str(file), "--jwks", str(keys))
        assert (result.exit_code, result.stderr.split(":")[0]) == (1, "unknown-key")
    file.write_bytes(file.read_bytes()[:-30])
    result = await nowhere.run("audit", "verify", "--pack", str(file))
    assert (result.exit_code, "pack-damaged" in result.stderr) == (1, True)


async def test_evidence_keeps_to_the_time_asked_for(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "none.zip"
    result = await place[1].run("audit", "export", "--since", "2099", "--evidence", str(file), "--json")
    assert (result.exit_code, json.loads(result.stdout)["events"]) == (0, 0)
    shown = json.loads((await place[1].run("audit", "verify", "--pack", str(file), "--json")).stdout)
    assert (shown["since"], shown["key_expected"]) == ("2099", False)


async def test_evidence_is_not_written_over(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "pack.zip"
    file.write_bytes(b"what a court has seen")
    result = await place[1].run("audit", "export", "--evidence", str(file))
    assert (result.exit_code, file.read_bytes()) == (2, b"what a court has seen")
    assert "is there already" in result.stderr
    assert os.listdir(tmp_path) == [file.name]


async def test_no_evidence_is_handed_out_of_a_record_that_was_changed(place: Place, tmp_path: Path) -> None:
    here, assent = place
    change = "UPDATE assent.audit_chain SET adopted = {} WHERE seq = 1"
    await _execute(here.assent.engine, change.format("true"))
    try:
        result = await assent.run("audit", "export", "--evidence", str(tmp_path / "pack.zip"))
        assert (result.exit_code, "checkpoint-contradicted" in result.stderr) == (1, True)
        assert os.listdir(tmp_path) == []
    finally:
        await _execute(here.assent.engine, change.format("false"))


async def test_misuse_exits_2(place: Place, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for arguments in (
        ("verify", "--checkpoint", missing),
        ("verify", "--pack", missing),
        ("verify", "--pack", missing, "--checkpoint", missing),
        ("verify", "--jwks", missing),
        ("export", "--evidence", f"{missing}/pack.zip"),
    ):
        assert (await place[1].run("audit", *arguments)).exit_code == 2


async def test_an_empty_record_verifies_and_has_no_checkpoint(database_url: str, tmp_path: Path) -> None:
    assent = CommandLine(database_url, tmp_path)
    result = await assent.run("audit", "verify", "--json")
    assert (result.exit_code, json.loads(result.stdout)["entries"]) == (0, 0)
    result = await assent.run("audit", "checkpoint")
    assert (result.exit_code, "nothing has been recorded" in result.stderr) == (1, True)


async def test_right_after_the_upgrade_what_was_stored_before_is_chained(place: Place) -> None:
    """As after the release before: AuditEvents, and neither entries nor checkpoints."""
    here, assent = place
    await assent.run("audit", "verify")
    await _execute(here.assent.engine, "DELETE FROM assent.audit_chain")
    await _execute(here.assent.engine, "DELETE FROM assent.audit_checkpoint")
    found = json.loads((await assent.run("audit", "verify", "--json")).stdout)
    assert found["ok"]
    assert found["adopted"] == found["entries"] > 0


async def test_a_secret_that_does_not_open_the_keys_is_said(place: Place) -> None:
    result = await place[1].run("audit", "verify", ASSENT_SECRET="t" * 40)
    assert (result.exit_code, "ASSENT_SECRET" in result.stderr) == (1, True)
