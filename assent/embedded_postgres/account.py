"""Decides as which operating-system account the embedded PostgreSQL runs, and what that account can reach.

PostgreSQL refuses to run as root, and containers run as root. Then the server process takes the uid of whoever owns
the data directory or, when that is root too, of an unprivileged account that every system has. No account is made
and no parent directory is opened: what the account can't reach is handed over in other ways (see `postgres.py`).
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED_NAMES = ("nobody", "daemon")


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL can't do what was asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account of the server process; `switch` is True when the process must change to it first."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path, mode: int) -> None:
        """Give `path` to the account with the given mode."""
        if self.switch:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def can_read(self, path: Path) -> bool:
        """Whether the account may traverse every parent of `path` and read it (a directory: also enter it)."""
        if not self.switch:
            return True
        path = path.resolve()
        if not all(self._permits(parent, os.X_OK) for parent in path.parents):
            return False
        return self._permits(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK)

    def _permits(self, path: Path, wanted: int) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            granted = found.st_mode >> 6
        elif found.st_gid == self.gid:
            granted = found.st_mode >> 3
        else:
            granted = found.st_mode
        return stat.S_IMODE(granted) & wanted == wanted


def server_account(data_dir: Path, cluster: Path) -> Account:
    """The account for a cluster: its owner once it exists, else ours, else an unprivileged one."""
    me = os.geteuid()
    owner = cluster.stat().st_uid if cluster.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise EmbeddedPostgresError(
                f"the database in `{cluster}` belongs to uid `{owner}` and this process is uid `{me}`; "
                "start Assent as that user or as root, or choose another ASSENT_DATA_DIR"
            )
        return Account(me, os.getegid(), switch=False)
    for uid in (owner, data_dir.stat().st_uid):
        if uid:
            return _account_of(uid)
    return _unprivileged_account()


def _account_of(uid: int) -> Account:
    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid, switch=True)
    except KeyError:
        return Account(uid, uid, switch=True)


def _unprivileged_account() -> Account:
    for name in UNPRIVILEGED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedPostgresError(
        "PostgreSQL can't run as root and the system has no account `nobody`; start Assent as an ordinary user "
        "or set ASSENT_DATABASE_URL"
    )
