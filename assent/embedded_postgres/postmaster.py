"""Reads what PostgreSQL says of itself in `postmaster.pid`, and stops a server whose Assent was killed.

A process id in a file proves nothing: it may have been given to somebody else since. So a process counts as the
server only when its working directory is the cluster (PostgreSQL changes into it and stays there).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from assent.embedded_postgres.account import EmbeddedPostgresError

STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Postmaster:
    """One complete `postmaster.pid` (PostgreSQL, miscadmin.h: LOCK_FILE_LINE_*)."""

    pid: int
    port: int
    ready: bool


def read_postmaster(cluster: Path) -> Postmaster | None:
    """What `postmaster.pid` says; None when it isn't there or isn't complete yet."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return Postmaster(int(lines[0]), int(lines[3]), ready=lines[7].strip() == "ready")
    except (FileNotFoundError, IndexError, ValueError):
        return None


def is_serving(cluster: Path, pid: int) -> bool:
    """Whether process `pid` is a PostgreSQL server on this cluster."""
    if Path("/proc/self").exists():
        try:
            return os.path.samefile(f"/proc/{pid}/cwd", cluster)
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def stop_orphan(cluster: Path) -> bool:
    """Stop the server that a killed Assent left behind and clear a stale pid file; True when there was one.

    INVARIANT: the caller holds the data directory's lock, so the server found belongs to nobody alive.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, IndexError, ValueError):
        return False
    if not is_serving(cluster, pid):
        if Path("/proc/self").exists():
            # The id may belong to another process of the same account by now, which PostgreSQL would take for a server.
            pid_file.unlink(missing_ok=True)
        return False
    for stop in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, stop)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not is_serving(cluster, pid):
                return True
            time.sleep(0.01)
    raise EmbeddedPostgresError(f"an earlier PostgreSQL (process `{pid}`) doesn't stop; end it, then start again")
