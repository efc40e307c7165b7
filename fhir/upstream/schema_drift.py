"""Whether what an upstream sends is still R4: a sample of its resources is held against the definitions, and counted.

It decides nothing: what isn't shaped as FHIR is withheld or masked anyway (fhir/minimization/minimize.py). It tells the
operator that a server changed. Counts name a type and a kind of fault, never an element or a value: both come from
outside.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from fhir.r4.definitions import Definitions, json_members

Kind = Literal["unknown-type", "unknown-element", "missing-element", "wrong-cardinality", "other-version"]

SECONDS: Final = 1.0
"""At most one answer in so many seconds is looked at."""
MAX_BODY: Final = 512 * 1024
MAX_RESOURCES: Final = 20
"""Of one answer."""
MAX_OBJECTS: Final = 2_000
"""Of one answer, resources and what is in them."""
_VERSION: Final = re.compile(r";\s*fhirversion\s*=\s*\"?([0-9.]{1,10})", re.IGNORECASE)
_OPEN: Final = frozenset({"extension", "modifierExtension"})
"""They may hold any type: not looked into."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class SchemaDrift:
    """What was seen of one upstream's resources. `counts` is by type and kind: how many resources have such a fault."""

    def __init__(self, definitions: Definitions, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.sampled: int = 0
        """Resources looked at."""
        self.counts: Final[Counter[tuple[str, Kind]]] = Counter()
        self._definitions = definitions
        self._monotonic = monotonic
        self._next = -float("inf")
        self._looking: asyncio.Future[None] | None = None

    def offer(self, body: bytes, content_type: str) -> None:
        """An answer to look at, or to let pass: beside the event loop, and one at a time."""
        now = self._monotonic()
        if now < self._next or len(body) > MAX_BODY or (self._looking is not None and not self._looking.done()):
            return
        self._next = now + SECONDS
        self._looking = asyncio.get_running_loop().run_in_executor(None, self.look, body, content_type)

    def look(self, body: bytes, content_type: str) -> None:
        """Count the faults in one answer. Never raises: what can't be read counts as a type that R4 doesn't know."""
        try:
            resources = list(_resources(_decode(body)))
        except (msgspec.DecodeError, RecursionError):
            resources = [{}]
        said = _VERSION.search(content_type)
        other = said is not None and not f"{said[1]}.".startswith("4.0.")
        room = _Room(MAX_OBJECTS)
        for resource in resources:
            self.sampled += 1
            kind = resource.get("resourceType")
            named = kind if isinstance(kind, str) and kind in self._definitions.resource_types else "other"
            faults: set[Kind] = set(_faults(resource, self._definitions, room))
            if other:
                faults.add("other-version")
            self.counts.update((named, fault) for fault in faults)


class _Room:
    """How many objects may still be looked into."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _resources(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The resources of a Bundle, else the one resource that it is."""
    entries = answer.get("entry")
    if answer.get("resourceType") != "Bundle":
        return [answer]
    found = [entry.get("resource") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [resource for resource in found if isinstance(resource, dict)][:MAX_RESOURCES]


def _faults(resource: Mapping[str, Any], definitions: Definitions, room: _Room) -> Iterator[Kind]:
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or kind not in definitions.resource_types:
        yield "unknown-type"
        return
    inside = {name: value for name, value in resource.items() if name != "resourceType"}
    yield from _inside(inside, kind, "", definitions, room)


def _inside(value: Mapping[str, Any], kind: str, path: str, definitions: Definitions, room: _Room) -> Iterator[Kind]:
    if not room.take():
        return
    known: dict[str, bool] = {}
    for name, element in definitions.children(kind, path).items():
        members = [member for member, _ in json_members(name, element)]
        known.update(dict.fromkeys(members, element.max != "1"))
        if element.min and not any(member in value or f"_{member}" in value for member in members):
            yield "missing-element"
    for name, member in value.items():
        if name.removeprefix("_") not in known:
            yield "unknown-element"
        elif not name.startswith("_"):
            yield from _member(name, member, known[name], kind, f"{path}.{name}" if path else name, definitions, room)


def _member(
    name: str, value: object, several: bool, kind: str, path: str, definitions: Definitions, room: _Room
) -> Iterator[Kind]:
    if isinstance(value, list) != several:
        yield "wrong-cardinality"
    if name in _OPEN:
        return
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            continue
        if "resourceType" in one:  # contained
            yield from _faults(one, definitions, room)
        else:
            yield from _inside(one, kind, path, definitions, room)
