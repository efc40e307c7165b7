"""What an upstream says that it can do, and what it does: for the operator's eyes.

Nothing of it is relied on: each resource is decided on its own content, whatever was found (docs/architecture.md).
The questions are small, name no patient that exists, and what comes back is counted, not kept.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from fhir.r4.definitions import Definitions
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.upstreams import Upstream

Question = Literal["count", "links", "elements", "refuses-unknown", "narrows"]
"""Whether `_count` bounds a page; the link to the next one can be followed; `_elements` leaves out the others; a
parameter that it doesn't know is refused, and not ignored; a search by patient finds that patient's resources only."""
Answer = Literal["yes", "no", "unknown"]

SECONDS: Final = 10.0
"""For all questions after the statement: who looks at it waits."""
_FHIR_VERSION: Final = "4.0"
_UNKNOWN: Final = "assent-asks-what-nobody-knows"
_TRIED: Final = ("Patient", "Observation", "Condition", "Encounter", "DiagnosticReport", "DocumentReference")
"""Types to ask about, in this order, of those that the upstream answers for; else the first of its own."""
_ALWAYS: Final = frozenset(
    # Of every resource, and the modifiers among the optional elements of the types that are tried.
    {"resourceType", "id", "meta", "text", "implicitRules", "modifierExtension", "contained"}
    | {"active", "link", "clinicalStatus", "verificationStatus"}
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one upstream turned out to be."""

    version: str
    """`fhirVersion` of its capability statement; empty when it says none."""
    milliseconds: int
    """Until the capability statement was there."""
    does: Mapping[Question, Answer]
    """What was answered in time."""

    @property
    def speaks_r4(self) -> bool:
        """Whether it is R4 by its own words."""
        return self.version == _FHIR_VERSION or self.version.startswith(f"{_FHIR_VERSION}.")


class NoStatement(Exception):
    """There is no capability statement at the base URL; `status` is what was answered."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status}")
        self.status: Final = status


class _Statement(msgspec.Struct):
    fhirVersion: str = ""  # noqa: N815  # FHIR's own spelling


class _Entry(msgspec.Struct):
    resource: dict[str, msgspec.Raw] = {}


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    entry: list[_Entry] = []
    link: list[_Link] = []


async def probe(upstream: Upstream, definitions: Definitions) -> Found:
    """Ask. Raises UpstreamFailure and NoStatement for the statement; of the rest, what isn't answered is unknown."""
    begun = time.monotonic()
    answer = await upstream.client.get("metadata", ())
    took = round((time.monotonic() - begun) * 1000)
    if answer.status != 200:
        raise NoStatement(answer.status)
    version = _version(answer.body)
    asking = _Asking(upstream, definitions)
    does: dict[Question, Answer] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            does["count"] = await asking.count()
            does["links"] = asking.links()
            does["elements"] = await asking.elements()
            does["refuses-unknown"] = await asking.refuses_unknown()
            does["narrows"] = await asking.narrows()
    return Found(version, took, does)


def _version(body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=_Statement).fhirVersion
    except msgspec.DecodeError:
        return ""
    return said if len(said) <= 20 and said.isascii() and said.isprintable() else ""


class _Asking:
    """Small searches of one upstream."""

    def __init__(self, upstream: Upstream, definitions: Definitions) -> None:
        self._client = upstream.client
        self._definitions = definitions
        types = upstream.types
        self._kinds = [kind for kind in _TRIED if types is None or kind in types] or sorted(types or ())[:1]
        self._followed: set[bool] = set()

    async def _search(self, kind: str, *query: tuple[str, str]) -> Sequence[Mapping[str, msgspec.Raw]] | int | None:
        """The resources; or the status of a refusal; None when neither is told."""
        try:
            answer = await self._client.get(kind, query)
            if answer.status != 200:
                return answer.status
            page = msgspec.json.decode(answer.body, type=_Page)
            following = (link.url for link in page.link if link.relation == "next" and "://" in link.url)
            self._followed.update(map(self._client.can_follow, following))
            return [entry.resource for entry in page.entry if entry.resource]
        except UpstreamFailure as failure:
            return failure.status if failure.kind == "bad-status" else None
        except msgspec.DecodeError:
            return None

    async def count(self) -> Answer:
        found = await self._search(self._kinds[0], ("_count", "1"))
        if not isinstance(found, list) or not found:
            return "unknown"
        return "yes" if len(_matches(found, self._kinds[0])) == 1 else "no"

    def links(self) -> Answer:
        """By those that came with what was asked until now."""
        if not self._followed:
            return "unknown"
        return "yes" if all(self._followed) else "no"

    async def elements(self) -> Answer:
        kind = self._kinds[0]
        children = self._definitions.children(kind)
        whole = await self._search(kind, ("_count", "1"))
        part = await self._search(kind, ("_count", "1"), ("_elements", "id"))
        if not isinstance(whole, list) or not isinstance(part, list) or not whole or not part:
            return "unknown"
        # Mandatory elements and modifiers may stay (FHIR R4 §3.1.1.5.9); what else R4 makes optional must go.
        optional = {name for name, element in children.items() if element.min == 0} - _ALWAYS
        if not optional & set(whole[0]):
            return "unknown"
        return "no" if optional & set(part[0]) else "yes"

    async def refuses_unknown(self) -> Answer:
        found = await self._search(self._kinds[0], ("_count", "1"), (_UNKNOWN, "1"))
        if isinstance(found, int):
            return "yes" if 400 <= found < 500 and found not in (401, 403, 404, 410, 429) else "unknown"
        return "unknown" if found is None else "no"

    async def narrows(self) -> Answer:
        """By a patient whom nobody can have: whatever comes isn't narrowed."""
        nobody = f"assent-{secrets.token_hex(12)}"
        for kind in self._kinds:
            parameter = "_id" if kind == "Patient" else "patient"
            if parameter not in self._definitions.search_parameters(kind):
                continue
            some = await self._search(kind, ("_count", "1"))
            if not isinstance(some, list) or not some or (kind == "Patient" and len(self._kinds) > 1):
                continue
            found = await self._search(kind, (parameter, nobody), ("_count", "1"))
            if isinstance(found, list):
                return "no" if _matches(found, kind) else "yes"
        return "unknown"


def _matches(found: Sequence[Mapping[str, msgspec.Raw]], kind: str) -> Sequence[Mapping[str, msgspec.Raw]]:
    named = msgspec.json.encode(kind)
    return [resource for resource in found if bytes(resource.get("resourceType", b"")) == named]
