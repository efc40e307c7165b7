"""What a medicine is, where something only refers to it: a prescription to a Medication of the upstream.

Such a MedicationRequest has no code of its own, so by itself it says nothing of why it should be withheld; yet it is
the same as one with the code inside. So codes and labels of the Medication count as if they stood in it, and so do
those of the Medications and Substances that it is made of. They are asked for by id, for all resources of a page at
once, and remembered for a minute. One that can't be told closes what refers to it; one that isn't there says nothing.
"""

from __future__ import annotations

import re
import time
from asyncio import gather
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from fhir.minimization.facts import FactsReader
from fhir.r4.own_types import OWN_TYPES
from fhir.r4.strict_json import decode_once
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import FailsAtOne, Source, read_after_failure
from fhir.upstream.upstreams import TypeNotServed
from policies.model import Coding, ResourceFacts

_BEGIN: Final = ("Medication/", "Substance/")
_MARKS: Final = {b"Medication": (b"Medication/", b"Medication\\/"), b"Substance": (b"Substance/", b"Substance\\/")}
"""By the word that most answers don't have. JSON may spell a slash with a backslash before it."""
_ID: Final = rb"[A-Za-z0-9.-]{1,64}"
_NAMED: Final = re.compile(rb'"(?:[^"]*/)?(Medication|Substance)\\?/(' + _ID + rb")(?:\\?/_history\\?/" + _ID + rb')?"')
_SECONDS: Final = 60.0
"""After which one is asked for again."""
_LONGEST_SECONDS: Final = 120.0
"""After which it isn't known any more, where it couldn't be asked for again; until then others may be using it."""
_MOST: Final = 10_000
_AT_ONCE: Final = 50
"""Ids of one search."""
_MOST_NAMES: Final = 2_000
"""Of them, named by one answer; what refers to more of them is withheld."""
_MOST_PARTS: Final = 100
"""Of one; what refers to one with more is withheld."""
_DEEPEST: Final = 4
"""How far it is followed of what each is made; what goes deeper can't be told."""
_MOST_READS: Final = 300
"""Reads for one answer, of those that a search by id didn't bring."""
_READS_AT_ONCE: Final = 10
_NO_SUCH: Final = frozenset({400, 403, 404, 405, 422, 501})
"""Statuses of a server that has no such search, or type: US Core asks for no more than reads of Medication."""


@dataclass(frozen=True, slots=True)
class _Medicine:
    """What is known of one; `codes` None when it is there and can't be told."""

    codes: frozenset[Coding] | None
    labels: frozenset[Coding]
    parts: frozenset[str]
    """`Type/id` of what it is made of."""
    until: float


class Medications:
    """Codes and labels of Medications and Substances, by `Type/id`."""

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
        """Ask for those that these resources name, as far as they aren't known. Raises UpstreamFailure."""
        now = self._monotonic()
        referring = filter(may_name_any, bodies)
        named = {f"{kind.decode()}/{id.decode()}" for body in referring for kind, id in _NAMED.findall(body)}
        asked: set[str] = set()
        for _ in range(_DEEPEST if named else 0):
            wanted = [name for name in self._unknown(named, now) if name not in asked][: _MOST_NAMES - len(asked)]
            if not wanted:
                return
            asked.update(wanted)
            for begin in _BEGIN:
                await self._ask(begin[:-1], [name[len(begin) :] for name in wanted if name.startswith(begin)], now)

    def are_named_in(self, facts: ResourceFacts) -> bool:
        """Whether a resource refers to any."""
        own = facts.resource_type in OWN_TYPES
        return not own and any(reference.startswith(_BEGIN) for reference in facts.references)

    def with_medicines(self, facts: ResourceFacts) -> ResourceFacts | None:
        """The facts, with those of what the resource refers to; None when something of that can't be told."""
        if not self.are_named_in(facts):
            return facts
        named = {reference for reference in facts.references if reference.startswith(_BEGIN)}
        codes, labels, oldest = facts.codes, facts.labels, self._monotonic() - (_LONGEST_SECONDS - _SECONDS)
        found, deeper = self._all(named)
        for known in found.values():
            if deeper or known is None or known.codes is None or known.until < oldest:
                return None
            codes |= known.codes
            labels |= known.labels
        same = codes == facts.codes and labels == facts.labels
        return facts if same else replace(facts, codes=codes, labels=labels)

    def _all(self, named: Iterable[str]) -> tuple[Mapping[str, _Medicine | None], bool]:
        """What is known of these and of what they are made of, None for what isn't; and whether more lies deeper."""
        found: dict[str, _Medicine | None] = {}
        level = set(named)
        for _ in range(_DEEPEST):
            known = {name: self._known.get(name) for name in level}
            found |= known
            level = {part for one in known.values() if one is not None for part in one.parts} - found.keys()
        return found, bool(level)

    def _unknown(self, named: Iterable[str], now: float) -> Iterable[str]:
        found, _ = self._all(named)
        return (name for name, known in found.items() if known is None or known.until < now)

    async def _ask(self, kind: str, ids: Sequence[str], now: float) -> None:
        try:
            source = self._source_of(kind)
        except TypeNotServed:
            return
        missing = []
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            found = await _found(source, kind, part)
            for wanted in part:
                if wanted in found:
                    self._keep(kind, wanted, found[wanted], now)
                else:
                    missing.append(wanted)
        for start in range(0, min(len(missing), _MOST_READS), _READS_AT_ONCE):
            part = missing[start : start + _READS_AT_ONCE]
            for wanted, resource in zip(part, await gather(*(_read(source, kind, id) for id in part)), strict=True):
                self._keep(kind, wanted, resource, now)

    def _keep(self, kind: str, wanted: str, resource: Mapping[str, Any] | None, now: float) -> None:
        """`resource`: None for one that isn't there."""
        medicine = _Medicine(frozenset(), frozenset(), frozenset(), now + _SECONDS)
        if resource is not None:
            facts = self._facts.read(resource)
            parts = frozenset(reference for reference in facts.references if reference.startswith(_BEGIN))
            told = facts.resource_type == kind and facts.id == wanted and not facts.foreign
            told = told and len(parts) <= _MOST_PARTS
            medicine = _Medicine(
                facts.codes if told else None, facts.labels, parts if told else frozenset(), now + _SECONDS
            )
        name = f"{kind}/{wanted}"
        self._known.pop(name, None)
        self._known[name] = medicine
        while len(self._known) > _MOST:
            self._known.popitem(last=False)


async def _found(source: Source, kind: str, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """What a search brings of them, by id."""
    try:
        return _by_id(kind, await source.page(f"{kind}?_id={','.join(ids)}&_count={len(ids) + 1}"))
    except UpstreamFailure as failure:
        if failure.may_be_of_one:
            return {}  # of one among them, or of all searches: reads will tell
        raise


async def _read(source: Source, kind: str, wanted: str) -> Mapping[str, Any] | None:
    """One of them, None when there is none; nothing of one that the upstream can't or won't give."""
    try:
        body = await source.read(kind, wanted, "")
    except UpstreamFailure as failure:
        if failure.status in _NO_SUCH:
            return {}
        try:
            body = await read_after_failure(source, kind, wanted, "", failure)
        except FailsAtOne:
            return {}
    return None if body is None else _decoded(body)


def _by_id(kind: str, body: bytes) -> dict[str, Mapping[str, Any]]:
    """The resources of a searchset by id; nothing of one that can't be read."""
    bundle = _decoded(body)
    entries: Sequence[Any] = bundle["entry"] if isinstance(bundle.get("entry"), list) else ()
    resources: Iterable[Any] = (entry.get("resource") for entry in entries if isinstance(entry, dict))
    return {str(r.get("id")): r for r in resources if isinstance(r, dict) and r.get("resourceType") == kind}


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = decode_once(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    return found


def may_name_any(body: bytes) -> bool:
    """Whether content may name a Medication or a Substance; a quick look."""
    return any(word in body and any(mark in body for mark in marks) for word, marks in _MARKS.items())
