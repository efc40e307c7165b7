"""Assent's own secret, which encrypts what must be recoverable at rest: given as a setting, or made once and kept."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.data_directory import using
from assent.settings import Settings
from authz import tables

FILE_NAME = "secret"


class SecretFileError(Exception):
    """The secret's file can't be used; the text says why."""


def read_secret(settings: Settings) -> bytes:
    """The secret of `ASSENT_SECRET`, else of the data directory, where it is made the first time."""
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    file = settings.data_dir / FILE_NAME
    with using(settings.data_dir):
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            _create(file)
        mode, found = stat.S_IMODE(file.stat().st_mode), file.read_bytes().strip()
    if mode & 0o077:
        raise SecretFileError(f"others may read `{file}`; run `chmod 600` on it")
    if len(found) < 32:
        raise SecretFileError(f"`{file}` is damaged; restore it from a backup, or remove it to make new signing keys")
    return found


async def secret_for(settings: Settings, engine: AsyncEngine) -> bytes:
    """As `read_secret`. A new one isn't made while keys are kept: it wouldn't open them, and would hide the loss."""
    file = settings.data_dir / FILE_NAME
    with using(settings.data_dir):
        missing = settings.secret is None and not file.exists()
    if missing:
        async with engine.connect() as connection:
            kept = int(await connection.scalar(select(func.count()).select_from(tables.signing_key)) or 0)
        if kept and not file.exists():  # another process may have made both meanwhile, the file first
            raise SecretFileError(
                f"`{file}` is missing, with which {kept} signing keys were encrypted; restore it or set ASSENT_SECRET"
            )
    return read_secret(settings)


def _create(file: Path) -> None:
    """Write beside and link into place: two processes that start together end up with one secret."""
    fresh = file.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as writer:
        writer.write(secrets.token_urlsafe(48).encode() + b"\n")
        writer.flush()
        os.fsync(writer.fileno())
    try:
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
