"""The embedded PostgreSQL: a real server in the data directory, so that the first command needs nothing installed.

Decided here: loopback TCP on a port that is remembered (a Unix socket's path may not exceed 107 bytes, and data
directories do); SCRAM with a generated password; an advisory file lock, so that two Assents never share a data
directory; an orphan left by `kill -9` is stopped in order before a new server starts, which is also the first thing
that PostgreSQL's own recovery sees.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO

from assent.data_directory import using
from assent.embedded_postgres.account import EmbeddedPostgresError, server_account
from assent.embedded_postgres.binaries import MAJOR_VERSION, Binaries, find_binaries
from assent.embedded_postgres.cluster import DATABASE, ROLE, create_cluster, set_password
from assent.embedded_postgres.place import Popen, ServerPlace
from assent.embedded_postgres.postmaster import STOP_SECONDS, is_serving, read_postmaster, stop_orphan

START_SECONDS = 60.0
START_ATTEMPTS = 6
LOG_LIMIT_BYTES = 4_000_000

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "80",
    "shared_buffers": "48MB",
    "max_wal_size": "512MB",
    "io_method": "sync",  # no io worker processes: this server is small
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Details of an error quote the values of rows, and statements may too: neither belongs in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
THROW_AWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class DataDirectoryInUseError(EmbeddedPostgresError):
    """Another Assent holds the data directory."""


class EmbeddedPostgres:
    """One PostgreSQL server for one data directory; `durable=False` is for tests only."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._settings = SERVER_SETTINGS if durable else SERVER_SETTINGS | THROW_AWAY_SETTINGS
        self._durable = durable
        self._home = self._data_dir / "postgres"
        self._cluster = self._home / "cluster"
        self._log = self._home / "server.log"
        self._process: Popen | None = None
        self._lock: IO[str] | None = None

    async def start(self) -> str:
        """Start the server, creating the cluster the first time; answers the SQLAlchemy URL of the database."""
        starting = asyncio.ensure_future(asyncio.to_thread(self.start_blocking))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread can't be cancelled: let it finish, so that what it started can be stopped.
            await asyncio.wait([starting])
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server in order and let go of the data directory; harmless when it isn't running."""
        await asyncio.to_thread(self.stop_blocking)

    @property
    def process_id(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start_blocking(self) -> str:
        """`start`, for callers without an event loop."""
        with using(self._data_dir):
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(self._data_dir)
            atexit.register(self.stop_blocking)
            try:
                self._launch()
                url = running_url(self._data_dir)
                if url is None:
                    raise EmbeddedPostgresError(f"PostgreSQL stopped right after its start; see `{self._log}`")
            except BaseException:
                self.stop_blocking()
                raise
            return url

    def stop_blocking(self) -> None:
        """`stop`, for callers without an event loop."""
        atexit.unregister(self.stop_blocking)
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _launch(self) -> None:
        account = server_account(self._data_dir, self._cluster)
        binaries = find_binaries(account)
        self._home.mkdir(exist_ok=True, mode=0o700)
        account.own(self._home, 0o700)
        with ServerPlace(self._home, account) as place:
            if not self._cluster.exists():
                create_cluster(place, binaries, _password_file(self._data_dir), durable=self._durable)
            self._check_version()
            stop_orphan(self._cluster)
            if not _password_file(self._data_dir).exists():
                set_password(place, binaries, self._cluster.name, _password_file(self._data_dir))
            self._run(place, binaries)

    def _check_version(self) -> None:
        found = (self._cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"the database in `{self._cluster}` was made by PostgreSQL `{found}` and this is {MAJOR_VERSION}; "
                "dump it with the old release and restore it here, or choose another ASSENT_DATA_DIR"
            )

    def _run(self, place: ServerPlace, binaries: Binaries) -> None:
        """Start the server; with another port, or a moment later, when it met an obstacle that passes."""
        remembered = self._data_dir / "postgres.port"
        for attempt in range(START_ATTEMPTS):
            port = _choose_port(remembered if attempt == 0 else None)
            options = [f"--{name}={value}" for name, value in (self._settings | {"port": str(port)}).items()]
            with self._log.open("wb" if _size(self._log) > LOG_LIMIT_BYTES else "ab") as log:
                before = log.tell()
                arguments = [str(binaries.postgres), "-D", place.path(self._cluster.name), *options]
                self._process = place.spawn(arguments, output=log)
            if self._is_ready(self._process):
                remembered.write_text(f"{port}\n")
                return
            complaint = self._log.read_bytes()[before:]
            if b"shared memory block" in complaint:  # sessions of a killed server are still ending
                time.sleep(0.3)
            elif b"TCP/IP socket" not in complaint:
                break
        self._process = None
        raise EmbeddedPostgresError(f"PostgreSQL didn't start; what it says stands in `{self._log}`")

    def _is_ready(self, process: Popen) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            found = read_postmaster(self._cluster)
            if found is not None and found.ready and found.pid == process.pid:
                return True
            time.sleep(0.005)
        _end(process)
        return False


def running_url(data_dir: Path) -> str | None:
    """SQLAlchemy URL of the server that runs on `data_dir` now, this process's or another's; None when none does."""
    cluster = data_dir.absolute() / "postgres" / "cluster"
    with using(data_dir):
        found = read_postmaster(cluster)
        if found is None or not found.ready or not is_serving(cluster, found.pid):
            return None
        password = _password_file(data_dir.absolute()).read_text().strip()
    return f"postgresql+asyncpg://{ROLE}:{password}@127.0.0.1:{found.port}/{DATABASE}"


def _password_file(data_dir: Path) -> Path:
    return data_dir / "postgres.password"


def _lock(data_dir: Path) -> IO[str]:
    """An advisory lock that ends with the process, however it ends."""
    file = (data_dir / "postgres.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataDirectoryInUseError(
            f"another Assent is running on the data directory `{data_dir}`; stop it or choose another ASSENT_DATA_DIR"
        ) from error
    return file


def _choose_port(remembered: Path | None) -> int:
    """The remembered port if it is free, else one that the system says is free."""
    with socket.socket() as probe:
        # Without this, sockets of the last server that are in TIME_WAIT would make its port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(remembered.read_text()) if remembered is not None else 0))
        except (OSError, ValueError, OverflowError):
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _end(process: Popen) -> None:
    """PostgreSQL, shutting down: SIGINT ends sessions and writes a checkpoint; SIGQUIT gives up at once."""
    for stop in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(stop)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
