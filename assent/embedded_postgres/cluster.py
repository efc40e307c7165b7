"""Makes the embedded PostgreSQL's cluster: initdb, the application role and its database.

Both happen before the server listens anywhere. The application's role is no superuser; the superuser's password is
thrown away, so that nobody ever signs in as one. An interrupted creation leaves no half cluster behind: it is made
under another name and renamed when complete.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from assent.embedded_postgres.account import EmbeddedPostgresError
from assent.embedded_postgres.binaries import Binaries
from assent.embedded_postgres.place import ServerPlace

ROLE = "assent_server"
"""Not the schema's name: PostgreSQL would then put `assent` into the role's search path."""
DATABASE = "assent"
SUPERUSER = "postgres"
CREATION_SECONDS = 120.0


def create_cluster(place: ServerPlace, binaries: Binaries, password_file: Path, *, durable: bool) -> None:
    """Make `cluster` below the place's home, with role, database and password file."""
    fresh = place.home / "cluster.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir()
    place.account.own(fresh, 0o700)
    _initdb(place, binaries, durable=durable)
    _single_user(
        place, binaries, fresh.name, f"CREATE ROLE {ROLE} LOGIN CREATEDB", f"CREATE DATABASE {DATABASE} OWNER {ROLE}"
    )
    set_password(place, binaries, fresh.name, password_file)
    fresh.rename(place.home / "cluster")


def set_password(place: ServerPlace, binaries: Binaries, cluster: str, password_file: Path) -> None:
    """Give the application role a new random password and keep it in a file that only we can read."""
    password = secrets.token_urlsafe(32)
    _single_user(place, binaries, cluster, f"ALTER ROLE {ROLE} PASSWORD '{password}'")
    password_file.unlink(missing_ok=True)
    handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(password)


def _initdb(place: ServerPlace, binaries: Binaries, *, durable: bool) -> None:
    """PostgreSQL, initdb: everyone authenticates by SCRAM; text compares the same on every system."""
    superuser_password = place.home / "initdb.password"
    superuser_password.unlink(missing_ok=True)
    superuser_password.touch(0o600)
    superuser_password.write_text(secrets.token_urlsafe(32))
    place.account.own(superuser_password, 0o600)
    arguments = [
        str(binaries.initdb),
        f"--pgdata={place.path('cluster.new')}",
        f"--username={SUPERUSER}",
        f"--pwfile={place.path(superuser_password.name)}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]
    try:
        _complete(place, arguments, b"")
    finally:
        superuser_password.unlink()


def _single_user(place: ServerPlace, binaries: Binaries, cluster: str, *statements: str) -> None:
    """Run statements without a listening server (PostgreSQL, single-user mode: one statement a line)."""
    arguments = [str(binaries.postgres), "--single", "-D", place.path(cluster), "-c", "exit_on_error=on", "postgres"]
    _complete(place, arguments, "".join(f"{statement};\n" for statement in statements).encode())


def _complete(place: ServerPlace, arguments: list[str], standard_input: bytes) -> None:
    with tempfile.TemporaryFile() as output:
        process = place.spawn(arguments, output=output, stdin=subprocess.PIPE)
        try:
            process.communicate(standard_input, timeout=CREATION_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace").strip().splitlines()
            raise EmbeddedPostgresError(
                f"creating the database in `{place.home}` failed: {words[-1] if words else 'no message'}; "
                "make room or choose another ASSENT_DATA_DIR, then start again"
            )
