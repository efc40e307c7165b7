"""Real server processes on one database: they move at once, are killed, and the chain is whole."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.audit.journal import entry_of
from tests.assent.commands import CommandLine
from tests.fhir.audit_place import RECORD, SECRET, AuditPlace, audit_place
from tests.sandbox_server import environment, free_port

RECORDS = 3_000


@contextmanager
def _server(data_dir: Path, database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "ASSENT_DATABASE_URL": database_url,
        "ASSENT_SECRET": SECRET.decode(),
        "ASSENT_UPSTREAM_URL": "http://127.0.0.1:9",
        "ASSENT_PORT": str(free_port()),
    }
    with (data_dir / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "assent", "serve"],
            env=environment(data_dir, **settings),
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


async def _until_chained(place: AuditPlace, count: int) -> None:
    async with asyncio.timeout(60):
        while await place.count("audit_chain") < count:  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_servers_that_move_at_once_and_are_killed_leave_one_whole_chain(
    engine: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    place = await audit_place(engine)
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    entries = [entry_of(replace(RECORD, request_id=f"r{n}")) for n in range(RECORDS)]
    await place.journal.append(entries)
    with ExitStack() as running:
        servers = [running.enter_context(_server(folder, database_url)) for folder in folders]
        await _until_chained(place, RECORDS // 3)
        servers[0].kill()
        await _until_chained(place, RECORDS // 2)
        servers[1].kill()
    assent = CommandLine(database_url, folders[0])
    result = await assent.run("audit", "verify", "--json", ASSENT_SECRET=SECRET.decode())
    found = json.loads(result.stdout)
    assert (result.exit_code, found["defect"], found["entries"], found["adopted"]) == (0, None, RECORDS, 0)
    assert {link.event_id for link in await place.links()} == {str(entry.id) for entry in entries}
