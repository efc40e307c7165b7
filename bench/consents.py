"""`python -m bench.consents`: what a decision costs by how many consents there are.

The method stands in bench/README.md. An embedded PostgreSQL of its own, filled by statements; loopback only; prints a
table, and with `--save` keeps it in bench/consents.json. `--consents` sets how many, 1,000,000 unless told otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from assent.embedded_postgres.server import EmbeddedPostgres
from assent.migrate import SCHEMA, migrate
from assent.policy_files import load_catalogue, load_policy_text
from assent.wiring.ground import system_clock
from bench.servers import observation
from fhir.consents.reading import read_consent
from fhir.consents.register import StoredConsents
from fhir.consents.writing import ConsentDecision, consent_resource
from fhir.minimization.facts import FactsReader
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository
from fhir.store.tables import VALUE_TABLES, store_metadata
from policies.catalogue import Catalogue
from policies.classify import classify
from policies.decide import ReadPlan, decide_resource, plan_read, share_of
from policies.model import Access, Permit
from smart.scope_syntax import parse_scope

READS = 4_000
_PATIENT = "p000000"
_CLIENT = "bench-app"


async def fill(engine: AsyncEngine, repository: Repository, consent: dict[str, Any], consents: int) -> None:
    """One consent through the store, the rest as copies of its rows under other ids and patients."""
    await repository.create(consent, id="c0000000")
    async with engine.begin() as connection:
        await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
        await connection.execute(text("SET LOCAL synchronous_commit TO off"))
        pk = (await connection.execute(text("SELECT pk FROM fhir_resource WHERE id = 'c0000000'"))).scalar_one()
        numbers = {"pk": pk, "last": consents - 1, "patients": _patients(consents)}
        await connection.execute(text(_COPIES), numbers)
        for table in VALUE_TABLES:
            await connection.execute(text(_values(table)), {"pk": pk})
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("VACUUM (ANALYZE)"))


_COPIES = f"""
INSERT INTO fhir_resource (resource_type, id, version, last_updated, deleted, body)
SELECT resource_type, 'c' || lpad(n::text, 7, '0'), 1, last_updated, false,
       convert_to(replace(replace(convert_from(body, 'UTF8'), 'c0000000', 'c' || lpad(n::text, 7, '0')),
                          '{_PATIENT}', 'p' || lpad((n % :patients)::text, 6, '0')), 'UTF8')
FROM fhir_resource, generate_series(1, :last) n WHERE pk = :pk ORDER BY md5(n::text)
"""  # noqa: S608 - constants; in no order, as people decide


def _values(table: str) -> str:
    """Rows of a value table for every copy; the patient is read out of the copy itself."""
    columns = [c.name for c in store_metadata(None).tables[table].columns if c.name != "pk"]
    own = "substr(convert_from(r.body, 'UTF8'), position('Patient/' in convert_from(r.body, 'UTF8')) + 8, 7)"
    values = [f"replace(v.{c}, '{_PATIENT}', {own})" if c == "target_id" else f"v.{c}" for c in columns]
    return (
        f"INSERT INTO {table} (pk, {', '.join(columns)}) SELECT r.pk, {', '.join(values)} "  # noqa: S608 - constants
        f"FROM fhir_resource r, {table} v WHERE v.pk = :pk AND r.pk <> :pk AND r.resource_type = 'Consent'"
    )


async def lookups(store: StoredConsents, patients: int) -> list[float]:
    """Milliseconds of each look-up of one patient's active consents, patients by chance."""
    chance, took = random.Random(7), []  # noqa: S311 - which patient, not a secret
    for n in range(READS + 500):
        patient = f"p{chance.randrange(patients):06d}"
        begun = time.perf_counter()
        found = await store.active_consents(patient, 1_001)
        if n >= 500:  # the first ones warm the connection and PostgreSQL's cache up
            took.append((time.perf_counter() - begun) * 1000)
        if not found:
            raise RuntimeError("a patient without the consents that were filled in")
    return took


async def measured(url: str, consent: dict[str, Any], consents: int) -> dict[str, Any]:
    """Look-ups among so many consents, in a database of their own."""
    await migrate(url)
    engine = create_async_engine(url)
    try:
        store = Repository(engine, load_definitions(), schema=SCHEMA, clock=system_clock, cursor_key=b"k" * 32)
        begun = time.perf_counter()
        await fill(engine, store, consent, consents)
        filled = time.perf_counter() - begun
        took = await lookups(StoredConsents(store), _patients(consents))
        async with engine.connect() as connection:
            size = await _size(connection)
    finally:
        await engine.dispose()
    cuts = statistics.quantiles(took, n=100)
    return {
        "consents": consents,
        "p50 ms": round(cuts[49], 2),
        "p99 ms": round(cuts[98], 2),
        "database MB": size,
        "filled in s": round(filled),
    }


def _patients(consents: int) -> int:
    return max(1, consents * 3 // 10)


async def _size(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT pg_database_size(current_database())"))).scalar_one() // 2**20)


def per_call(call: Callable[[], object], times: int) -> float:
    """Microseconds of a call: the median of five runs."""
    runs = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times):
            call()
        runs.append((time.perf_counter() - begun) / times * 1e6)
    return statistics.median(runs)


def decision() -> tuple[dict[str, Any], Catalogue]:
    """What a person typically decides: everyday categories allowed, sensitive ones kept."""
    catalogue = load_catalogue()
    asked = tuple(catalogue.categories)
    granted = ("demographics", "laboratory", "vital-signs", "conditions", "medications")
    starts = datetime(2026, 1, 2, tzinfo=UTC)
    made = ConsentDecision(
        *(_PATIENT, f"Patient/{_PATIENT}", "Bench Mark", _CLIENT, "Bench", "PATRQT", asked, granted),
        *(starts, starts.replace(year=2099), load_policy_text(catalogue)),
    )
    return consent_resource(made, catalogue), catalogue


def pure(consent: dict[str, Any], catalogue: Catalogue) -> dict[str, float]:
    """Microseconds to read a consent as rules, and to decide one resource by them."""
    body = msgspec.json.encode(consent)
    rule = read_consent(msgspec.json.decode(body))
    scope = parse_scope("patient/*.rs")
    if scope is None:
        raise RuntimeError("the scope can't be read")
    access = Access(_CLIENT, "g", (scope,), 2**31, "j", _PATIENT)
    plan = plan_read(access, "read", "Observation", catalogue)
    now = datetime.now(UTC)
    share = share_of(plan, _PATIENT, [rule], catalogue, now) if isinstance(plan, ReadPlan) else None
    if not isinstance(plan, ReadPlan) or share is None:
        raise RuntimeError("the consent opens nothing")
    plan = plan.sharing({_PATIENT: share})
    seen = {**observation(1), "subject": {"reference": f"Patient/{_PATIENT}"}}
    facts = FactsReader(load_definitions(), catalogue).read(seen)
    kind = classify(facts, catalogue)
    if not isinstance(decide_resource(plan, facts, catalogue, kind), Permit):
        raise RuntimeError("the resource isn't opened")
    return {
        "read a consent as rules, µs": round(per_call(lambda: read_consent(msgspec.json.decode(body)), 2_000), 1),
        "decide a resource, µs": round(per_call(lambda: decide_resource(plan, facts, catalogue, kind), 5_000), 1),
        "classify it, µs": round(per_call(lambda: classify(facts, catalogue), 5_000), 1),
    }


def main() -> None:
    """Run everything and print it."""
    options = argparse.ArgumentParser(prog="python -m bench.consents")
    options.add_argument("--consents", type=int, default=1_000_000)
    options.add_argument("--save", action="store_true")
    asked = options.parse_args()
    consent, catalogue = decision()
    rows = []
    for consents in (1_000, asked.consents):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            server = EmbeddedPostgres(Path(folder))
            try:
                rows.append(asyncio.run(measured(server.start_blocking(), consent, consents)))
            finally:
                server.stop_blocking()
    figures = pure(consent, catalogue)
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))  # noqa: T201 - the command's output
    print("  ".join(f"{name}: {value}" for name, value in figures.items()))  # noqa: T201 - as above
    print(f"p99 ratio: {rows[1]['p99 ms'] / rows[0]['p99 ms']:.2f}")  # noqa: T201 - as above
    if asked.save:
        result = Path(__file__).with_name("consents.json")
        result.write_text(json.dumps({"rows": rows, "pure": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
