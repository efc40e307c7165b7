"""People's passwords: Argon2id, in a thread, a few at a time so that sign-in can't starve the rest."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import ARGON2_VERSION

_HASHER: Final = PasswordHasher()  # argon2-cffi's defaults are RFC 9106's second recommended option
_AT_ONCE: Final = 2
MAX_PASSWORD: Final = 256
NO_PASSWORD: Final = "-"  # noqa: S105 - no secret
"""In place of a hash: no password is the right one."""


def hash_of_nothing() -> str:
    """Random bytes, written as a hash: no password is the right one, and to find that out takes as long as ever."""
    salt, digest = (base64.b64encode(os.urandom(n)).decode().rstrip("=") for n in (_HASHER.salt_len, _HASHER.hash_len))
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


class Passwords:
    """Hashes and checks passwords. A check takes as long for a name that doesn't exist."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._nobody = hash_of_nothing()

    async def hash(self, password: str) -> str:
        """The hash to store."""
        async with self._slots:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def check(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; None, for an unknown user, and NO_PASSWORD cost the same."""
        if len(password) > MAX_PASSWORD:
            return False
        async with self._slots:
            known = None if stored == NO_PASSWORD else stored
            right = await asyncio.to_thread(_verify, known or self._nobody, password)
        return right and known is not None


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False
