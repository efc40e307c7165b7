"""Tells failures that pass, of a database that is away or full, from mistakes in the code."""

from __future__ import annotations

from typing import Final

import asyncpg
from sqlalchemy.exc import TimeoutError as NoConnectionFree

_PASSING: Final = (
    ConnectionError,
    NoConnectionFree,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it stops, starts, or somebody ended the session
    asyncpg.InsufficientResourcesError,  # no room on the disk, no connection left
    asyncpg.ReadOnlySQLTransactionError,  # the primary has become a standby
)


def passing_failure(error: BaseException) -> str | None:
    """Name of the failure, without its text, which may quote values; None when trying again wouldn't help."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, _PASSING) or _lost(found):
            return type(found).__name__
        found = found.__cause__
    return None


def _lost(error: BaseException) -> bool:
    """The driver has one exception for its misuse and for a connection that was lost before."""
    return isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)
