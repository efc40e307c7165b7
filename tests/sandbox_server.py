"""`assent sandbox` as somebody has it after `make run`: its own process, port and data directory.

Making a database and the patients takes several times as long as starting a server. So both are made once in a test
run, and every sandbox begins with a copy; tests/authz/test_proofs_over_restarts.py begins with nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from assent.commands.sandbox import edition
from assent.embedded_postgres.server import EmbeddedPostgres
from assent.migrate import migrate
from assent.progress import Progress
from assent.sandbox_mode.upstream import SCHEMA, Dataset, load_dataset
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository
from sandbox.records.population import generate

START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox, described by its manifest."""

    manifest: dict[str, Any]

    @property
    def issuer(self) -> str:
        """The public URL."""
        return str(self.manifest["issuer"])

    @property
    def fhir_base(self) -> str:
        """The FHIR base URL of the proxy."""
        return str(self.manifest["fhir_base"])

    def user(self, role: str = "patient", *, patients: int = 1) -> dict[str, Any]:
        """The first user in a role who decides for so many patients."""
        return next(u for u in self.manifest["users"] if u["role"] == role and len(u["patients"]) == patients)

    def client(self, kind: str) -> dict[str, Any]:
        """The first client of a kind that has a secret or needs none."""
        return next(c for c in self.manifest["clients"] if c["kind"] == kind)


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
    return kept | {"ASSENT_DATA_DIR": str(data_dir), "ASSENT_LOG_FORMAT": "json"} | settings


@contextmanager
def assent_process(arguments: list[str], environment: dict[str, str], port: int, log: Path) -> Iterator[str]:
    """Run `assent <arguments>` until it is ready; answers its URL. SIGTERM to its process id ends it."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
            [sys.executable, "-m", "assent", *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _await_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
async def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the schema and the patients in it, and nothing yet of a server: no users, apps or keys.

    All workers share it; whoever needs it first makes it.
    """
    own = tmp_path_factory.getbasetemp()
    place = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = place / "sandbox-data"
    with (place / "sandbox-data.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = place / "sandbox-data.new"
            await _prepare(unfinished)
            unfinished.rename(made)
    return made


def copy_of(prepared: Path, place: Path) -> Path:
    """A data directory at this place that begins with what is prepared; its database keeps its owner."""
    subprocess.run(["cp", "-Rp", str(prepared), str(place)], check=True)  # noqa: S603, S607 - our own paths
    return place


async def _prepare(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir, durable=False)
    url = await postgres.start()
    try:
        await migrate(url)
        engine = create_async_engine(url)
        repository = Repository(engine, load_definitions(), schema=SCHEMA, clock=lambda: datetime.now(UTC))
        await load_dataset(engine, repository, Dataset(edition(), generate), Progress(lambda _: None))
        await engine.dispose()
    finally:
        await postgres.stop()
    (data_dir / "postgres.port").unlink()  # else all copies would want the same


@pytest.fixture(scope="session")
def sandbox(prepared_data: Path) -> Iterator[Sandbox]:
    """One sandbox for all tests that ask for it; they use different apps, so that they don't meet."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="assent-sandbox-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        command = ["sandbox", "--port", str(port)]
        settings = environment(copy_of(prepared_data, place / "data"))
        with assent_process(command, settings, port, place / "log") as url:
            answer = httpx.get(f"{url}/sandbox/manifest.json", timeout=30)
            answer.raise_for_status()
            yield Sandbox(answer.json())


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready within {START_SECONDS} s:\n{log.read_text(encoding='utf-8')[-4000:]}")
