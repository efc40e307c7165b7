"""What a medicine is, where a prescription only refers to it: `medicationReference` to a Medication of the upstream.

Such a MedicationRequest has no code of its own, so by itself it says nothing of why it should be withheld; yet it is
the same as one with the code inside. So codes and labels of the Medication count as if they stood in it. It is asked
for by id, for all prescriptions of a page at once, and remembered for a minute. One that can't be told closes what
refers to it; one that isn't there says nothing.
"""

from __future__ import annotations

import re
import time
from asyncio import gather
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

import msgspec

from fhir.minimization.facts import FactsReader
from fhir.r4.strict_json import decode_once
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import FORBIDDEN, Source
from fhir.upstream.upstreams import TypeNotServed
from policies.model import Coding, ResourceFacts

REFERRING: Final = frozenset(
    {"MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration"}
)
_KIND: Final = "Medication"
_TYPES: Final = tuple(f'"{kind}"'.encode() for kind in REFERRING)
_NAMED: Final = re.compile(rb'"(?:[^"\\]*/)?Medication/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?"')
_SECONDS: Final = 60.0
"""After which one is asked for again."""
_LONGEST_SECONDS: Final = 120.0
"""After which it isn't known any more, where it couldn't be asked for again; until then others may be using it."""
_MOST: Final = 10_000
_AT_ONCE: Final = 50
"""Ids of one search."""
_MOST_NAMES: Final = 2_000
"""Medications that one answer names; what refers to more of them is withheld."""
_MOST_READS: Final = 300
"""Reads for one answer, of those that a search by id didn't bring."""
_READS_AT_ONCE: Final = 10
_NO_SEARCH: Final = frozenset({400, 403, 404, 405, 422, 501})
"""Statuses of a server that has no such search: US Core asks for no more than reads of Medication."""


@dataclass(frozen=True, slots=True)
class _Medicine:
    """What is known of one; `codes` None when it is there and can't be told."""

    codes: frozenset[Coding] | None
    labels: frozenset[Coding]
    until: float


class Medications:
    """Codes and labels of Medications, by id."""

    def __init__(
        self,
        source_of: Callable[[str], Source],
        facts: FactsReader,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source_of = source_of
        self._facts = facts
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Medicine] = OrderedDict()

    async def learn(self, *bodies: bytes) -> None:
        """Ask for the Medications that these resources name, as far as they aren't known. Raises UpstreamFailure."""
        now = self._monotonic()
        referring = [body for body in bodies if b"Medication/" in body and any(kind in body for kind in _TYPES)]
        named = {found.decode() for body in referring for found in _NAMED.findall(body)}
        unknown = (name for name in named if (known := self._known.get(name)) is None or known.until < now)
        asked = list(islice(unknown, _MOST_NAMES))
        if not asked:
            return
        try:
            source = self._source_of(_KIND)
        except TypeNotServed:
            return
        missing = []
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            found = await _found(source, part)
            for name in part:
                if name in found:
                    self._keep(name, found[name], now)
                else:
                    missing.append(name)
        for start in range(0, min(len(missing), _MOST_READS), _READS_AT_ONCE):
            part = missing[start : start + _READS_AT_ONCE]
            for name, resource in zip(part, await gather(*(_read(source, name) for name in part)), strict=True):
                self._keep(name, resource, now)

    def with_medicines(self, facts: ResourceFacts) -> ResourceFacts | None:
        """The facts, with those of the Medications that it refers to; None when one of them can't be told."""
        codes, labels, oldest = facts.codes, facts.labels, self._monotonic() - (_LONGEST_SECONDS - _SECONDS)
        for reference in facts.references:
            kind, _, name = reference.partition("/")
            if kind != _KIND:
                continue
            known = self._known.get(name)
            if known is None or known.codes is None or known.until < oldest:
                return None
            codes |= known.codes
            labels |= known.labels
        same = codes == facts.codes and labels == facts.labels
        return facts if same else replace(facts, codes=codes, labels=labels)

    def _keep(self, name: str, resource: Mapping[str, Any] | None, now: float) -> None:
        """`resource`: None for one that isn't there."""
        medicine = _Medicine(frozenset(), frozenset(), now + _SECONDS)
        if resource is not None:
            facts = self._facts.read(resource)
            told = facts.resource_type == _KIND and facts.id == name and not facts.foreign
            medicine = replace(medicine, codes=facts.codes if told else None, labels=facts.labels)
        self._known.pop(name, None)
        self._known[name] = medicine
        while len(self._known) > _MOST:
            self._known.popitem(last=False)


async def _found(source: Source, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """What a search brings of them, by id."""
    try:
        return _by_id(await source.page(f"{_KIND}?_id={','.join(names)}&_count={len(names) + 1}"))
    except UpstreamFailure as failure:
        if failure.status in _NO_SEARCH:
            return {}
        raise


async def _read(source: Source, name: str) -> Mapping[str, Any] | None:
    """One Medication, None when there is none; nothing of one that the upstream keeps from us."""
    try:
        body = await source.read(_KIND, name, "")
    except UpstreamFailure as failure:
        if failure.status == FORBIDDEN:
            return {}
        raise
    return None if body is None else _decoded(body)


def _by_id(body: bytes) -> dict[str, Mapping[str, Any]]:
    """The resources of a searchset by id; nothing of one that can't be read."""
    bundle = _decoded(body)
    entries: Sequence[Any] = bundle["entry"] if isinstance(bundle.get("entry"), list) else ()
    resources: Iterable[Any] = (entry.get("resource") for entry in entries if isinstance(entry, dict))
    return {str(r.get("id")): r for r in resources if isinstance(r, dict) and r.get("resourceType") == _KIND}


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = decode_once(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    return found
