"""Checks that an installation can work: database, keys, policies, upstream, clock, identity provider.

A check answers with a sentence that says what was found or what to do; an error inside a check is a failed check.
Nothing is changed by looking: no key and no secret is made. What needs the database is skipped when it can't be asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from assent.database import any_database
from assent.feature_checks import feature_checks
from assent.identity_provider import count_provider_keys, identity_provider, provider_addresses
from assent.language_files import load_languages
from assent.migrate import SCHEMA, current_revision, newer_schema, newest_revision
from assent.policy_files import load_catalogue
from assent.secret_file import FILE_NAME, secret_for
from assent.settings import Settings
from assent.upstream_checks import upstream_checks
from assent.upstream_metrics import described
from authz import tables
from authz.sign_in.identity_provider import SignInRefused
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.chain import AuditChain
from fhir.audit.checkpoints import latest_checkpoint
from fhir.audit.journal import AuditJournal
from fhir.minimization.masks import Masks
from fhir.r4.definitions import load_definitions
from fhir.upstream.upstreams import Upstreams

CLOCK_TOLERANCE_SECONDS = 5.0

State = Literal["ok", "failed", "skipped"]
Found = tuple[State, str]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    state: State
    text: str


async def examine(settings: Settings, now: Clock, running: Upstreams | None = None) -> AsyncIterator[Check]:
    """All checks, one after the other. `running`: the upstreams as the process knows them that asks, of a server."""
    for check in await _with_database(settings, now):
        yield check
    yield await _guarded("policies", _policies(settings))
    for name, look in upstream_checks(settings):
        yield await _guarded(name, look())
    for name, look in feature_checks(settings):
        yield await _guarded(name, look())
    for name, state, found in () if running is None else described(running):
        yield Check(name, state, found)
    yield await _guarded("sign-in", _provider(settings))


async def _with_database(settings: Settings, now: Clock) -> list[Check]:
    """What is asked of the database, in one visit: an embedded one may have to be started for it."""
    checks: list[Check] = []
    try:
        async with any_database(settings) as url:
            checks.append(await _guarded("database", _database(url, embedded=settings.database_url is None)))
            migrated = checks[0].state == "ok"
            engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
            try:
                keys = _keys(settings, engine, now) if migrated else _skipped("the database must be migrated first")
                checks.append(await _guarded("keys", keys))
                checks.append(await _guarded("clock", _clock(engine, now)))
                checks.append(
                    await _guarded(
                        "audit", _audit(engine, now) if migrated else _skipped("the database must be migrated first")
                    )
                )
            finally:
                await engine.dispose()
    except Exception as error:  # whatever keeps the database away is what the operator needs to read
        if not checks:
            checks.append(_failed("database", error))
        left = ("keys", "clock", "audit")[len(checks) - 1 :]
        checks.extend(Check(name, "skipped", "the database can't be asked") for name in left)
    return checks


async def _guarded(name: str, check: Awaitable[Found]) -> Check:
    try:
        state, found = await check
    except Exception as error:  # a broken check is a failed one; its message is for the operator's own terminal
        return _failed(name, error)
    return Check(name, state, found)


def _failed(name: str, error: Exception) -> Check:
    return Check(name, "failed", str(error) or type(error).__name__)


async def _skipped(why: str) -> Found:
    return "skipped", why


async def _database(url: str, *, embedded: bool) -> Found:
    revision, newest = await current_revision(url), newest_revision()
    if (newer := newer_schema(revision)) is not None:
        return "failed", newer
    if revision is None:
        return "failed", "there is no schema yet; the first start of a server makes it, as does `assent migrate`"
    if revision != newest:
        return "failed", f"schema is at `{revision}` and this release needs `{newest}`; run `assent migrate`"
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            version = str(await connection.scalar(text("SHOW server_version"))).split()[0]
    finally:
        await engine.dispose()
    where = "embedded" if embedded else "external"
    return "ok", f"PostgreSQL {version} ({where}) answers, schema is at `{revision}`"


async def _keys(settings: Settings, engine: AsyncEngine, now: Clock) -> Found:
    """The kept keys open with the secret. Neither is made here: a new secret would hide that the old one is lost."""
    async with engine.connect() as connection:
        kept = int(await connection.scalar(select(func.count()).select_from(tables.signing_key)) or 0)
    if not kept and settings.secret is None and not (settings.data_dir / FILE_NAME).exists():
        return "ok", "there are no secret and no signing keys yet; the first start makes them"
    keys = SigningKeys(engine, await secret_for(settings, engine), now)
    await keys.reload()
    if not kept:
        return "ok", "the secret is there and private, and there are no signing keys yet; the first start makes them"
    usable = {key.alg for key in keys.listed() if key.active_from <= now()}
    if missing := {"ES256", "RS256"} - usable:
        return "failed", f"no `{min(missing)}` key can sign now; run `assent keys rotate`"
    return "ok", f"{len(keys.listed())} signing keys open with the secret"


async def _audit(engine: AsyncEngine, now: Clock) -> Found:
    """Records become AuditEvents soon after they were written, none is left behind, and the chain is signed.

    Only the ends of the tables are looked at; `assent audit verify` looks at all of them.
    """
    waiting, failed = await AuditJournal(engine, schema=SCHEMA).counts()
    if failed:
        return "failed", (
            f"{failed} records can't become AuditEvents; the log says why (`audit_record_not_indexed`), "
            "and the next start of a server tries them again"
        )
    async with engine.connect() as connection:
        entries, _ = await AuditChain(schema=SCHEMA).head(connection)
        last = await latest_checkpoint(connection, schema=SCHEMA)
    waits = f"{waiting} record{'' if waiting == 1 else 's'} waiting to become AuditEvents"
    if last is None:
        return "ok", f"{waits}, the chain has {entries} entries and no checkpoint yet"
    if last.seq > entries:
        return "failed", (
            f"the chain has {entries} entries and a checkpoint says {last.seq}; run `assent audit verify`, "
            "and keep a copy of the database as it is"
        )
    minutes = max(0, int((now() - last.time).total_seconds() // 60))
    since = f"last checkpoint {minutes} minutes ago, {entries - last.seq} entries since"
    return "ok", f"{waits}, the chain has {entries} entries, {since}"


async def _policies(settings: Settings) -> Found:
    catalogue = load_catalogue(settings.policy_dir)
    spoken = ", ".join(load_languages(catalogue, settings.policy_dir).by_tag)
    Masks(catalogue, load_definitions())
    has = f"catalogue {catalogue.version} has {len(catalogue.categories)} data categories"
    return "ok", f"{has}, its masks compile; pages in {spoken}"


async def _provider(settings: Settings) -> Found:
    """The identity provider's metadata and keys. That it knows our client shows at the first sign-in only."""
    provider = identity_provider(settings)
    if provider is None:
        return "skipped", "no identity provider is set; people sign in here"
    try:
        count = await count_provider_keys(provider, provider_addresses(settings))
    except SignInRefused as refused:
        return "failed", (
            f"`{provider.issuer}` can't be used (`{refused.reason}`); check ASSENT_OIDC_ISSUER, and ASSENT_JWKS_HOSTS "
            "if its endpoints stand on another host"
        )
    return (
        "ok",
        f"`{provider.issuer}` answers, {count} of its keys can verify ID tokens; "
        f"it must know the redirect URI `{provider.redirect_uri}`",
    )


async def _clock(engine: AsyncEngine, now: Clock) -> Found:
    async with engine.connect() as connection:
        theirs = await connection.scalar(text("SELECT clock_timestamp()"))
        ours = now()
    if not isinstance(theirs, datetime):
        return "failed", "the database doesn't tell the time"
    seconds = abs((ours - theirs).total_seconds())
    if seconds > CLOCK_TOLERANCE_SECONDS:
        return "failed", f"the clock differs from the database's by `{seconds:.0f}` s; synchronize both (NTP)"
    return "ok", "the clock agrees with the database's"
