"""What passes is answered 503 and told in a line; what is a mistake stays a 500 with its stack."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, TimeoutError

from fhir.store.passing_failures import passing_failure


def wrapped(cause: BaseException) -> DBAPIError:
    """As SQLAlchemy hands it on: around its own exception, around the driver's."""
    between = RuntimeError("of the dialect")
    between.__cause__ = cause
    found = DBAPIError("SELECT 1", {}, between)
    found.__cause__ = between
    return found


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("127.0.0.1"),
        TimeoutError("QueuePool limit"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.DiskFullError("no space left"),
        asyncpg.TooManyConnectionsError("too many clients already"),
        asyncpg.InterfaceError("connection is closed"),
    ],
)
def test_a_database_that_is_away_or_full_passes(error: Exception) -> None:
    assert passing_failure(error) == type(error).__name__
    assert passing_failure(wrapped(error)) == type(error).__name__


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a mistake"),
        FileNotFoundError("a mistake"),
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        asyncpg.UndefinedColumnError("column x does not exist"),
        IntegrityError("INSERT", {}, ValueError("a mistake")),
    ],
)
def test_a_mistake_doesnt_pass(error: Exception) -> None:
    assert passing_failure(error) is None
    assert passing_failure(wrapped(error)) is None
