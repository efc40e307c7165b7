"""`python -m bench.export`: CPU of the filter of bulk exports on 100 MB of NDJSON, against a plain copy of the lines.

In this process and without a network or a database: lines are split, decided, minimized and put together; consents come
from memory, and records are made but not written. Observations of 2 kB of twenty patients, one after the other, of
whom ten share.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

import msgspec

from assent.policy_files import load_catalogue
from bench.servers import observation
from fhir.consents.directory import NO_DIRECTORY
from fhir.consents.register import ConsentRegister
from fhir.consents.writing import ConsentDecision, PolicyText, consent_resource
from fhir.export.filter import ExportFilter, records_of
from fhir.export.lines import LineSplitter
from fhir.export.request import plan_export
from fhir.export.stream import MOST_BYTES, MOST_LINES
from fhir.minimization.facts import FactsReader
from fhir.minimization.masks import Masks
from fhir.proxy.medications import Medications
from fhir.proxy.origins import Origins
from fhir.proxy.read_plans import ReadPlans
from fhir.proxy.resource_view import ResourceViews
from fhir.r4.definitions import load_definitions
from fhir.upstream.source import Source
from policies.catalogue import Catalogue
from policies.decide import ReadPlan
from policies.model import Access, Scope

MEGABYTES = 100
PIECE = 64 * 1024
_PATIENTS = 20
_NOW = datetime(2026, 6, 1, tzinfo=UTC)


class _Consents:
    """Every other patient shares laboratory results with the service."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._of = {f"p{number}": _consent(f"p{number}", catalogue) for number in range(1, _PATIENTS, 2)}

    async def active_consents(self, patient: str, limit: int) -> list[bytes]:
        """As `fhir.consents.register.ActiveConsents`."""
        return [self._of[patient]]

    async def naming(self, grantee: str, now: datetime, limit: int) -> Sequence[str]:
        """As `fhir.proxy.read_plans.Sharing`."""
        return list(self._of)

    def healthy(self) -> bool:
        """As `fhir.consents.register.Health`."""
        return True


def _consent(patient: str, catalogue: Catalogue) -> bytes:
    """As the server writes it."""
    text = PolicyText("urn:bench", "1", "en", "", "")
    who, since = (f"Patient/{patient}", patient), datetime(2026, 1, 1, tzinfo=UTC)
    shared = ("laboratory",)
    decision = ConsentDecision(patient, *who, "service", "Service", "TREAT", shared, shared, since, None, text)
    return msgspec.json.encode({**consent_resource(decision, catalogue), "id": f"c-{patient}"})


def _pieces() -> Iterator[bytes]:
    """The file as it would arrive; its lines are all different."""
    left, number, buffer = MEGABYTES * 1_000_000, 0, b""
    while left > 0:
        while len(buffer) < PIECE:
            line = observation(number) | {"subject": {"reference": f"Patient/p{number // 50 % _PATIENTS}"}}
            buffer += msgspec.json.encode(line) + b"\n"
            number += 1
        piece, buffer = buffer[:PIECE], buffer[PIECE:]
        left -= PIECE
        yield piece
    yield buffer


def _batches() -> Iterator[list[bytes]]:
    splitter, batch, size = LineSplitter(32 * 1024 * 1024, gzip=False), [], 0
    for piece in _pieces():
        for line in chain.from_iterable(splitter.feed(piece)):
            batch.append(line)
            size += len(line)
            if len(batch) == MOST_LINES or size >= MOST_BYTES:
                yield batch
                batch, size = [], 0
    yield [*batch, *chain.from_iterable(splitter.end())]


def _filter() -> ExportFilter:
    catalogue, definitions = load_catalogue(None), load_definitions()
    consents = _Consents(catalogue)
    facts = FactsReader(definitions, catalogue)
    medications = Medications(_nowhere, facts)
    views = ResourceViews(catalogue, definitions, Masks(catalogue, definitions), facts, medications)
    origins = Origins(views.facts, views.relative, _nowhere, lambda kind: False, medications.learn)
    scopes = (Scope("system", "Observation", "rs"),)
    access = Access("service", "", scopes, 0, "jti", subject="service", purpose="TREAT")
    plan = plan_export(access, "Observation", catalogue)
    if not isinstance(plan, ReadPlan):
        raise TypeError("the token opens nothing")
    plans = ReadPlans(ConsentRegister(consents, consents), consents, catalogue, NO_DIRECTORY)
    return ExportFilter(plans, views, medications, origins, plan, "Observation")


def _nowhere(resource_type: str) -> Source:
    raise LookupError(resource_type)  # Observations have no targets to look up


async def _filtered(lines: ExportFilter) -> int:
    out = 0
    for batch in _batches():
        passed = await lines.passed(batch, _NOW)
        records_of(passed, "request", _NOW)
        out += len(passed.body)
    return out


async def _copied() -> int:
    out = 0
    for batch in _batches():
        out += len(b"\n".join(batch))
    return out


async def _made() -> int:
    return sum(map(len, _pieces()))


def _cpu(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.process_time()
    out = work()
    return time.process_time() - begun, out


def main() -> None:
    """Run it once and print it."""
    lines = _filter()
    making, _ = _cpu(lambda: asyncio.run(_made()))
    copying, _ = _cpu(lambda: asyncio.run(_copied()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    filtering, out = _cpu(lambda: asyncio.run(_filtered(lines)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {
        "copy MB/s": round(MEGABYTES / (copying - making)),
        "filter MB/s": round(MEGABYTES / (filtering - making), 1),
        "out MB": round(out / 1_000_000),
        "peak RSS MB, copy": round(before),
        "peak RSS MB, filter": round(after),
    }
    print("  ".join(f"{name}: {value}" for name, value in told.items()))  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
