"""Checks that an installation can work: database, keys, upstream, policies, clock. Each check stands alone.

A check answers with a sentence that says what was found or what to do; an error inside a check is a failed check.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import aiohttp
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from assent.database import any_database
from assent.migrate import current_revision, newest_revision
from assent.policy_files import load_catalogue
from assent.secret_file import read_secret
from assent.settings import Settings

CLOCK_TOLERANCE_SECONDS = 5.0
UPSTREAM_SECONDS = 10.0
FHIR_VERSIONS = ("4.0.1", "4.0.0", "4.0")

State = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    state: State
    text: str


async def examine(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[Check]:
    """All checks, one after the other."""
    yield await _guarded("database", _database(settings))
    yield await _guarded("keys", _keys(settings))
    yield await _guarded("policies", _policies(settings))
    yield await _guarded("upstream", _upstream(settings))
    yield await _guarded("clock", _clock(settings, now))


async def _guarded(name: str, check: Awaitable[tuple[State, str]]) -> Check:
    try:
        state, found = await check
    except Exception as error:  # a broken check is a failed one; its message is for the operator's own terminal
        return Check(name, "failed", str(error) or type(error).__name__)
    return Check(name, state, found)


async def _database(settings: Settings) -> tuple[State, str]:
    async with any_database(settings) as url:
        revision, newest = await current_revision(url), newest_revision()
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            version = str(await connection.scalar(text("SHOW server_version"))).split()[0]
        await engine.dispose()
    where = "embedded" if settings.database_url is None else "external"
    if revision != newest:
        return "failed", f"schema is at `{revision}` and this release needs `{newest}`; run `assent migrate`"
    return "ok", f"PostgreSQL {version} ({where}) answers, schema is at `{revision}`"


async def _keys(settings: Settings) -> tuple[State, str]:
    read_secret(settings)
    return "ok", "the secret that encrypts signing keys is there and private"


async def _policies(settings: Settings) -> tuple[State, str]:
    catalogue = load_catalogue(settings.policy_dir)
    return "ok", f"catalogue {catalogue.version} has {len(catalogue.categories)} data categories"


async def _upstream(settings: Settings) -> tuple[State, str]:
    if settings.upstream_url is None:
        return "skipped", "no upstream is set; set ASSENT_UPSTREAM_URL, or use `assent sandbox`"
    begun = time.monotonic()
    status, version, _ = await _capabilities(settings.upstream_url)
    took = round((time.monotonic() - begun) * 1000)
    if status != 200:
        return "failed", f"`{settings.upstream_url}/metadata` answers `{status}`; it must be a FHIR R4 base URL"
    if version not in FHIR_VERSIONS:
        return "failed", f"`{settings.upstream_url}` speaks FHIR `{version}`; Assent needs R4 (4.0.1)"
    return "ok", f"`{settings.upstream_url}` speaks FHIR {version} and answered in {took} ms"


async def _clock(settings: Settings, now: Callable[[], datetime]) -> tuple[State, str]:
    async with any_database(settings) as url:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            theirs = await connection.scalar(text("SELECT clock_timestamp()"))
        await engine.dispose()
    if not isinstance(theirs, datetime):
        return "failed", "the database doesn't tell the time"
    differences = {"database": abs((now() - theirs).total_seconds())}
    if settings.upstream_url is not None:
        _, _, date = await _capabilities(settings.upstream_url)
        if date is not None:
            differences["upstream"] = abs((now() - date).total_seconds())
    wrong = {name: seconds for name, seconds in differences.items() if seconds > CLOCK_TOLERANCE_SECONDS}
    if wrong:
        name, seconds = next(iter(wrong.items()))
        return "failed", f"the clock differs from the {name}'s by `{seconds:.0f}` s; synchronize both (NTP)"
    return "ok", "the clock agrees with " + " and ".join(f"the {name}'s" for name in differences)


async def _capabilities(base: str) -> tuple[int, str, datetime | None]:
    """Status, FHIR version and date of the upstream's capability statement."""
    timeout = aiohttp.ClientTimeout(total=UPSTREAM_SECONDS)
    headers = {"accept": "application/fhir+json"}
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        session.get(f"{base}/metadata", allow_redirects=False) as answer,
    ):
        date = parsedate_to_datetime(answer.headers["date"]) if "date" in answer.headers else None
        if answer.status != 200:
            return answer.status, "", date
        found = await answer.json(content_type=None)
    version = str(found.get("fhirVersion", "")) if isinstance(found, dict) else ""
    return 200, version, date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
