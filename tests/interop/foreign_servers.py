"""FHIR servers that were not written for Assent: how each is installed by name from its registry, and started.

Installing happens once for each state of the few files that say what to install, in `ASSENT_INTEROP_CACHE` or the
user's cache directory. A server listens on a loopback port of its own choice and prints its base URL as first line;
it is stopped by its process id, and its data goes with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

HERE = Path(__file__).parent
INSTALL_SECONDS = 900
START_SECONDS = 180
WEBSOCKET = "--experimental-websocket"
"""Medplum's code names WebSocket as it loads; Node.js has it from 20 with this option, from 22 anyway."""


class ForeignServerUnavailable(Exception):
    """The server can't run on this machine; the text says what is missing."""


def install_hapi() -> list[str]:
    """HAPI FHIR's JPA server from Maven's repository; answers the command that starts it."""
    tools = [_tool(name, "a JDK 17 or later, and Maven") for name in ("java", "javac", "mvn")]
    java, javac, maven = tools
    place = _place("hapi")
    class_path = place / "class-path"
    if not (place / "installed").exists():
        listing = [maven, "-B", "-q", f"-Dmdep.outputFile={class_path}", "dependency:build-classpath"]
        _run(listing, place)
        _run([javac, "-nowarn", "-cp", class_path.read_text(), "-d", "classes", "ForeignServer.java"], place)
        (place / "installed").touch()
    options = ["-Xmx1500m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    return [java, *options, "-cp", f"{place / 'classes'}{os.pathsep}{class_path.read_text()}", "ForeignServer"]


def install_medplum() -> list[str]:
    """Medplum's in-memory FHIR router from npm's registry; answers the command that starts it."""
    node, npm = (_tool(name, "Node.js 20 or later with npm") for name in ("node", "npm"))
    if subprocess.run([node, WEBSOCKET, "-e", "0"], capture_output=True, check=False).returncode != 0:  # noqa: S603 - fixed
        raise ForeignServerUnavailable(f"`{node}` is too old; this server needs Node.js 20 or later")
    place = _place("medplum")
    if not (place / "installed").exists():
        _run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], place)
        (place / "installed").touch()
    return [node, WEBSOCKET, str(place / "server.mjs")]


INSTALL: dict[str, Callable[[], list[str]]] = {"hapi": install_hapi, "medplum": install_medplum}


@contextmanager
def running(command: list[str]) -> Iterator[str]:
    """The base URL of the server that `command` starts, while the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - installed above
    overdue = Timer(START_SECONDS, process.kill)
    overdue.start()
    try:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        overdue.cancel()
        if not base_url.startswith("http://127.0.0.1:"):
            raise AssertionError(f"the foreign server ended, or took more than {START_SECONDS} s (`{base_url}`)")
        yield base_url
    finally:
        overdue.cancel()
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _tool(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ForeignServerUnavailable(f"`{name}` isn't installed; this server needs {what}")
    return found


def _place(kind: str) -> Path:
    """The directory of this state of the server's files, holding a copy of them."""
    files = sorted(path for path in (HERE / kind).iterdir() if path.is_file())
    state = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("ASSENT_INTEROP_CACHE") or Path.home() / ".cache" / "assent-interop")
    place = cache / f"{kind}-{state}"
    place.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copy2(path, place / path.name)
    return place


def _run(command: list[str], place: Path) -> None:
    done = subprocess.run(  # noqa: S603 - fixed commands
        command, cwd=place, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"`{Path(command[0]).name}` failed in `{place}`:\n{done.stdout}\n{done.stderr}")
