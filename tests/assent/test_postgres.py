"""The embedded PostgreSQL is started for real, as whoever runs the tests and, when that is root, as root."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from assent.embedded_postgres.account import Account, EmbeddedPostgresError, server_account
from assent.embedded_postgres.binaries import find_binaries
from assent.embedded_postgres.postmaster import is_serving
from assent.embedded_postgres.server import DataDirectoryInUseError, EmbeddedPostgres, running_url

CHILD = """
import sys, time
from pathlib import Path
from assent.embedded_postgres.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start_blocking(), server.process_id, flush=True)
time.sleep(600)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / ".assent"


@pytest.fixture
def closed_parent() -> Iterator[Path]:
    """A directory that only its owner may enter, and whose path is too long for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="closed-" + "x" * 90) as directory:
        yield Path(directory)


async def fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start_elsewhere(data_dir: Path, code: str = CHILD) -> tuple[subprocess.Popen[str], str, int]:
    """An Assent in another process: its handle, the URL of its database, PostgreSQL's process id."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter and our own text
        [sys.executable, "-c", code, str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url, pid = process.stdout.readline().split()
    return process, url, int(pid)


def sleeper(account: Account) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account.switch else None)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


async def test_second_start_finds_what_the_first_wrote_and_is_durable(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = await server.start()
    await fetch(url, "CREATE TABLE kept AS SELECT 1 AS value")
    assert await fetch(url, "SELECT current_setting('fsync')") == "on"
    assert await fetch(url, "SELECT current_setting('is_superuser')") == "off"
    pid = server.process_id
    assert pid is not None
    await server.stop()
    assert not is_serving(data_dir / "postgres" / "cluster", pid)
    assert running_url(data_dir) is None

    assert await server.start() == url
    assert await fetch(url, "SELECT value FROM kept") == 1
    await server.stop()


async def test_data_directory_that_only_its_owner_may_enter_and_with_spaces_works(closed_parent: Path) -> None:
    data_dir = closed_parent / "a name with spaces, ünïcode" / ".assent"
    server = EmbeddedPostgres(data_dir, durable=False)
    assert await fetch(await server.start(), "SELECT 1") == 1
    await server.stop()
    assert mode(closed_parent) == 0o700
    assert mode(data_dir) == 0o700
    assert mode(data_dir / "postgres.password") == 0o600


async def test_two_servers_run_side_by_side(tmp_path: Path) -> None:
    one, two = EmbeddedPostgres(tmp_path / "one", durable=False), EmbeddedPostgres(tmp_path / "two", durable=False)
    first, second = await one.start(), await two.start()
    await fetch(first, "CREATE TABLE only_here ()")
    assert await fetch(second, "SELECT to_regclass('only_here')") is None
    await one.stop()
    await two.stop()


async def test_wrong_password_is_refused(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    url = await server.start()
    secret = (data_dir / "postgres.password").read_text()
    for wrong in ("", "guess"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await fetch(url.replace(secret, wrong), "SELECT 1")
    await server.stop()


async def test_lost_password_file_is_made_anew(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    old = await server.start()
    await server.stop()
    (data_dir / "postgres.password").unlink()
    new = await server.start()
    assert new != old
    assert await fetch(new, "SELECT 1") == 1
    await server.stop()


async def test_second_assent_on_the_same_data_directory_is_refused_by_name(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    url = await server.start()
    with pytest.raises(DataDirectoryInUseError, match="another Assent is running on the data directory"):
        await EmbeddedPostgres(data_dir).start()
    assert running_url(data_dir) == url
    assert await fetch(url, "SELECT 1") == 1
    await server.stop()


async def test_nothing_is_lost_when_assent_is_killed(data_dir: Path) -> None:
    process, url, orphan = start_elsewhere(data_dir)
    await fetch(url, "CREATE TABLE kept AS SELECT 42 AS value")
    kill(process)
    assert is_serving(data_dir / "postgres" / "cluster", orphan)

    server = EmbeddedPostgres(data_dir)
    assert await fetch(await server.start(), "SELECT value FROM kept") == 42
    assert not is_serving(data_dir / "postgres" / "cluster", orphan)
    await server.stop()


async def test_nothing_is_lost_when_both_are_killed(data_dir: Path) -> None:
    process, url, orphan = start_elsewhere(data_dir)
    await fetch(url, "CREATE TABLE kept AS SELECT 42 AS value")
    kill(process)
    os.kill(orphan, signal.SIGKILL)
    server = EmbeddedPostgres(data_dir)
    assert await fetch(await server.start(), "SELECT value FROM kept") == 42
    await server.stop()


async def test_stale_pid_file_naming_an_innocent_process_harms_nobody(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    await server.start()
    cluster = data_dir / "postgres" / "cluster"
    stale = (cluster / "postmaster.pid").read_text().splitlines()
    await server.stop()
    account = server_account(data_dir, cluster)
    innocent = sleeper(account)
    (cluster / "postmaster.pid").write_text("\n".join([str(innocent.pid), *stale[1:]]) + "\n")

    await server.start()
    assert innocent.poll() is None
    await server.stop()
    innocent.terminate()
    innocent.wait()


async def test_interrupted_creation_is_made_again(data_dir: Path) -> None:
    leftover = data_dir / "postgres" / "cluster.new"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(data_dir, durable=False)
    assert await fetch(await server.start(), "SELECT 1") == 1
    await server.stop()


async def test_cluster_of_another_release_is_refused_by_name(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    await server.start()
    await server.stop()
    (data_dir / "postgres" / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL `17`"):
        await server.start()


async def test_sigterm_to_a_process_that_exits_normally_stops_the_server(data_dir: Path) -> None:
    code = CHILD.replace("time.sleep(600)", "import signal; signal.sigwait({signal.SIGTERM})").replace(
        "server =", "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); server ="
    )
    process, _, pid = start_elsewhere(data_dir, code)
    assert process.stdout is not None
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    assert not is_serving(data_dir / "postgres" / "cluster", pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
def test_programs_out_of_reach_are_copied_once(tmp_path: Path) -> None:
    unknown = Account(uid=54321, gid=54321, switch=True)
    tmp_path.chmod(0o755)
    copies = tmp_path / "copies"

    class Blind(Account):
        def can_read(self, path: Path) -> bool:
            return False

    found = find_binaries(Blind(unknown.uid, unknown.gid, True), copies)
    assert found.directory.is_relative_to(copies)
    made = found.postgres.stat().st_ino
    subprocess.run([str(found.postgres), "--version"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our copy
    assert find_binaries(Blind(unknown.uid, unknown.gid, True), copies).postgres.stat().st_ino == made


def test_account_knows_what_it_can_reach(tmp_path: Path) -> None:
    stranger = Account(uid=54321, gid=54321, switch=True)
    tmp_path.chmod(0o700)
    assert not stranger.can_read(tmp_path)
    assert Account(os.geteuid(), os.getegid(), switch=False).can_read(tmp_path)
