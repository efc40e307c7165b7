"""`assent sandbox` as somebody has it after `make run`: its own process, port and data directory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

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
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests that ask for it; they use different apps, so that they don't meet."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="assent-sandbox-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        command = ["sandbox", "--port", str(port)]
        with assent_process(command, environment(place / "data"), port, place / "log") as url:
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
