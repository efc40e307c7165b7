"""What every test may ask for: a real PostgreSQL for the session, and migrated databases of its own.

`ASSENT_TEST_DATABASE_URL` names another server's database to start from (its role needs CREATEDB); otherwise an
embedded server runs in a temporary directory. A database is migrated once and then copied (`CREATE DATABASE …
TEMPLATE`), so that a fresh one costs milliseconds.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from argon2 import PasswordHasher
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assent.embedded_postgres.server import EmbeddedPostgres
from assent.migrate import migrate
from authz.sign_in import passwords
from fhir.proxy import ticks
from tests.clients.hospital import hospital as hospital
from tests.sandbox_server import prepared_data as prepared_data
from tests.sandbox_server import sandbox as sandbox

MakeDatabase = Callable[[], Awaitable[str]]
LONGEST = (
    *("browser/test_accessibility.py", "leaks/test_differential.py", "leaks/test_differential_writes.py"),
    *("conformance/test_api_description.py", "clients/test_node_clients.py"),
    *("policies/test_consent_properties.py", "browser/test_passkeys.py", "browser/test_journey.py"),
    *("clients/test_identity_provider.py", "leaks/test_writes_twins.py"),
    *("assent/test_serve.py", "fhir/test_audit_verification.py", "leaks/test_export_streams.py"),
    *("portal/test_developer_pages.py", "portal/test_explain_pages.py", "leaks/test_writes_hostile.py"),
)
"""Files that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is left with it when the others have ended."""
    here = Path(__file__).parent
    if renamed := [name for name in LONGEST if not (here / name).is_file()]:
        raise pytest.UsageError(f"LONGEST names files that aren't there: {', '.join(renamed)}")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(places)))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a server on which the tests may create databases."""
    given = os.environ.get("ASSENT_TEST_DATABASE_URL")
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="assent-test-", ignore_cleanup_errors=True) as directory:
        server = EmbeddedPostgres(Path(directory), durable=False)
        yield server.start_blocking()
        server.stop_blocking()


@pytest.fixture(scope="session")
async def template_database(postgres_url: str) -> AsyncIterator[str]:
    """Name of a migrated database to which nobody connects, so that it can be copied at any time."""
    name = _fresh_name("template")
    await _administer(postgres_url, f'CREATE DATABASE "{name}"')
    await migrate(_url_of(postgres_url, name))
    yield name
    await _drop(postgres_url, name)


@pytest.fixture(scope="session")
async def make_database(postgres_url: str, template_database: str) -> AsyncIterator[MakeDatabase]:
    """A function that answers the URL of one more fresh migrated database; all go at the end of the session."""
    names: list[str] = []

    async def make() -> str:
        name = _fresh_name("copy")
        await _administer(postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
        names.append(name)
        return _url_of(postgres_url, name)

    yield make
    for name in names:
        await _drop(postgres_url, name)


@pytest.fixture
async def database_url(make_database: MakeDatabase) -> str:
    """SQLAlchemy URL of a fresh migrated database for this test alone."""
    return await make_database()


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """SQLAlchemy URL of a database without anything in it."""
    name = _fresh_name("empty")
    await _administer(postgres_url, f'CREATE DATABASE "{name}"')
    yield _url_of(postgres_url, name)
    await _drop(postgres_url, name)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Engine on a fresh migrated database."""
    engine = create_async_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session", autouse=True)
def no_ticks() -> Iterator[None]:
    """Servers in this process answer at once when they show nothing; tests of their time set `TICK` themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ticks, "TICK", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def servers_hasher() -> Iterator[PasswordHasher]:
    """The hasher of passwords as it is; servers in this process use one that takes a hundredth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        as_it_is = passwords._HASHER
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        yield as_it_is


@pytest.fixture(scope="session", autouse=True)
def interrupt() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as it does anyway, but not by Python's own handler.

    Where that is set, asyncio sets another for each run of a loop and takes it away again, and on the way the `repr`
    of the task is made: of all that a fixture answered, for every test several times.
    """

    def stop(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    yield
    signal.signal(signal.SIGINT, before)


def _fresh_name(kind: str) -> str:
    return f"assent_test_{kind}_{secrets.token_hex(6)}"


def _url_of(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


async def _drop(url: str, name: str) -> None:
    """Ends this role's connections to a database and drops it, on a server that stays: another goes with its folder.

    Hundreds are made, and each makes the server write all that it has in memory when it goes.

    Not `WITH (FORCE)`: that fails when the server's autovacuum happens to be at work there, because its processes
    belong to a superuser. A plain DROP sends autovacuum away by itself, and waits for the connections just ended.
    """
    if "ASSENT_TEST_DATABASE_URL" not in os.environ:
        return
    await _administer(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user",
        name,
    )
    await _administer(url, f'DROP DATABASE IF EXISTS "{name}"')


async def _administer(url: str, statement: str, *values: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()
