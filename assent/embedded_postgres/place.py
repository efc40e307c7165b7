"""Where the server process finds its data and as whom it runs: one place to start PostgreSQL's programs from.

Usually the data is a path. When the server's account may not walk that path (root's checkout below `/root`, 0700),
it is an open directory that the process inherits: `/proc/self/fd/N` needs no permission on any parent.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from assent.embedded_postgres.account import Account, EmbeddedPostgresError

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C"}
"""Nothing else of ours: PG* variables would change what the programs do, and secrets stay here."""


class ServerPlace:
    """The directory `home` as seen by the server's account; a context manager that holds it open."""

    def __init__(self, home: Path, account: Account) -> None:
        self.home = home
        self.account = account
        self._handle: int | None = None

    def __enter__(self) -> ServerPlace:
        if not self.account.can_read(self.home):
            if not Path("/proc/self/fd").is_dir():
                raise EmbeddedPostgresError(
                    f"PostgreSQL can't run as root and its account can't reach `{self.home}`; "
                    "choose an ASSENT_DATA_DIR whose parents others may traverse, or set ASSENT_DATABASE_URL"
                )
            self._handle = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def path(self, name: str) -> str:
        """`name` below the home directory, spelled as the server process may reach it."""
        return str(self.home / name) if self._handle is None else f"/proc/self/fd/{self._handle}/{name}"

    def spawn(self, arguments: Sequence[str], *, output: IO[bytes], stdin: int = subprocess.DEVNULL) -> Popen:
        """Start a program as the account, in a session of its own (Ctrl-C in the terminal must not reach it)."""
        switch = self.account.switch
        return subprocess.Popen(  # noqa: S603 - our own binaries and arguments, no shell
            arguments,
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            umask=0o077,
            env=ENVIRONMENT,
            pass_fds=() if self._handle is None else (self._handle,),
            user=self.account.uid if switch else None,
            group=self.account.gid if switch else None,
            extra_groups=[] if switch else None,
        )


Popen = subprocess.Popen[bytes]
