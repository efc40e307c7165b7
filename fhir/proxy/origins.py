"""Provenance (FHIR R4 §6.3): there while everything is shown that it targets, else not there.

It says that its targets exist, since when and by whom, so one withheld target withholds all of it. It needs to name no
patient: it is about whom its targets are about. Those are looked up before anything is decided, at its own upstream
(docs/decisions/0036-provenance.md).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import urlencode

import msgspec

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.page import Page
from fhir.proxy.pages_by_id import is_by_id, page_by_id
from fhir.proxy.searchset import fill_page
from fhir.proxy.shown import Shown
from fhir.proxy.upstream_page import BrokenBundle, decided_by
from fhir.r4.own_types import OWN_TYPES
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.source import Source, read_if_given
from policies.model import ResourceFacts

PROVENANCE: Final = "Provenance"
MOST_TARGETS: Final = 100
"""Of one Provenance; one with more is withheld."""
_AT_ONCE: Final = 50
"""Ids that stand in one search."""
_NAME: Final = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
_VERSION: Final = "/_history/"


class _Reference(msgspec.Struct):
    reference: str


class _Provenance(msgspec.Struct):
    target: list[_Reference]


class _Meta(msgspec.Struct):
    versionId: str = ""  # noqa: N815  # FHIR's own spelling


class _Versioned(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Named(msgspec.Struct):
    resourceType: str  # noqa: N815
    id: str = ""


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"{}")


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


_provenance: Final = msgspec.json.Decoder(_Provenance).decode
_versioned: Final = msgspec.json.Decoder(_Versioned).decode
_named: Final = msgspec.json.Decoder(_Named).decode
_bundle: Final = msgspec.json.Decoder(_Bundle).decode


@dataclass(frozen=True, slots=True)
class Origin:
    """What a Provenance targets."""

    targets: tuple[bytes, ...]
    """Every resource that must be shown; a patient only where nothing else is targeted."""
    owners: frozenset[str]
    """Ids of the patients whom those are about."""

    def about(self, facts: ResourceFacts) -> ResourceFacts:
        """The facts of the Provenance, with whom it is about."""
        return replace(facts, owners=facts.owners | self.owners)


OriginsByContent = Mapping[bytes, Origin]
"""By the Provenance's bytes. INVARIANT: one that isn't in here isn't shown."""
NO_ORIGINS: Final[OriginsByContent] = {}


@dataclass(frozen=True, slots=True)
class Origins:
    """Finds what Provenances target."""

    facts: Callable[[bytes], ResourceFacts]
    """Raises NotMinimizable."""
    relative: Callable[[str], str | None]
    source_of: Callable[[str], Source]
    serves: Callable[[str], bool]
    learn: Callable[..., Awaitable[None]]
    """Finds out what must be known of the resources that it is given to decide on them. Raises UpstreamFailure."""

    async def of(self, provenances: Iterable[bytes], at_hand: Mapping[str, bytes] | None = None) -> OriginsByContent:
        """Those of which every target was found. `at_hand`: resources by `Type/id` that needn't be asked for.

        Raises UpstreamFailure when the upstream is away. One that refuses to give a target has none: an error would
        tell of what else is withheld.
        """
        wanted = {raw: targets for raw in provenances if (targets := self._targets(raw))}
        names = {name for targets in wanted.values() for name in targets}
        bodies = {name: raw for name, raw in (at_hand or {}).items() if name in names}
        bodies |= await self._asked(names - bodies.keys())
        await self.learn(*bodies.values())
        found = {raw: self._origin(targets, bodies) for raw, targets in wanted.items()}
        return {raw: origin for raw, origin in found.items() if origin is not None}

    async def on_page(self, body: bytes) -> OriginsByContent:
        """Those of a Bundle's entries, its other entries being at hand. Raises UpstreamFailure."""
        if b'"Provenance"' not in body:
            return NO_ORIGINS
        try:
            entries = [bytes(entry.resource) for entry in _bundle(body).entry]
            named = [(_named(raw), raw) for raw in entries]
        except (msgspec.DecodeError, RecursionError):
            return NO_ORIGINS
        at_hand = {f"{found.resourceType}/{found.id}": raw for found, raw in named}
        return await self.of([raw for found, raw in named if found.resourceType == PROVENANCE], at_hand)

    def _targets(self, raw: bytes) -> dict[str, str]:
        """The version of each target that must be shown, by `Type/id`; none when one of all can't be told."""
        try:
            literals = [target.reference for target in _provenance(raw).target]
        except (msgspec.DecodeError, RecursionError):
            return {}
        found: dict[str, str] = {}
        for literal in literals:
            name = self.relative(literal)
            version = literal.partition(_VERSION)[2]
            if name is None or not _NAME.fullmatch(name) or found.setdefault(name, version) != version:
                return {}
        others = {name: version for name, version in found.items() if not name.startswith("Patient/")}
        shown = others or found
        together = len(found) <= MOST_TARGETS and all(self._is_together(name.partition("/")[0]) for name in shown)
        return shown if together else {}

    def _is_together(self, kind: str) -> bool:
        """Whether a type comes from where Provenances come from: what is said of others counts for nothing (L25)."""
        if kind == PROVENANCE or kind in OWN_TYPES or not self.serves(kind):
            return False
        return self.source_of(kind) is self.source_of(PROVENANCE)

    async def _asked(self, names: Iterable[str]) -> dict[str, bytes]:
        by_type: dict[str, list[str]] = {}
        for name in sorted(names):
            kind, _, wanted = name.partition("/")
            by_type.setdefault(kind, []).append(wanted)
        found: dict[str, bytes] = {}
        for kind, ids in by_type.items():
            for begin in range(0, len(ids), _AT_ONCE):
                found |= await self._searched(kind, ids[begin : begin + _AT_ONCE])
        return found

    async def _searched(self, kind: str, ids: list[str]) -> dict[str, bytes]:
        source = self.source_of(kind)

        async def fetched(url: str) -> bytes:
            # One target that can't be had withholds its own Provenances, and not those of all that are asked for.
            if is_by_id(url):
                return await page_by_id(url, source.page, partial(read_if_given, source))
            return await source.page(url)

        question = f"{kind}?{urlencode({'_id': ','.join(ids), '_count': len(ids)})}"
        get = decided_by(lambda raw: self._one_of(ids, raw), fetched)
        found: dict[str, bytes] = {}
        page = Page(next_url=question)
        try:
            for _ in ids:  # a page holds one of them at least, and most hold all
                if page.next_url is not None:
                    at = page.next_url, page.next_position
                    page = await fill_page(kind, len(ids), *at, get, question=question, passed=page.next_passed)
                    found |= {shown.name: shown.body for shown in page.matches}
        except BrokenBundle:
            pass
        except UpstreamFailure as failure:
            if failure.means_down or failure.kind == "paused":
                raise
        return found

    def _one_of(self, ids: Collection[str], raw: bytes) -> Shown | None:
        """A resource that was asked for. An upstream may give others besides, and how many there are mustn't matter."""
        facts = self.facts(raw)
        return Shown(facts, raw) if facts.id in ids else None

    def _origin(self, targets: Mapping[str, str], bodies: Mapping[str, bytes]) -> Origin | None:
        """None where a target wasn't found, or is another version than the one that is named."""
        if not targets.keys() <= bodies.keys():
            return None
        raws = tuple(bodies[name] for name in targets)
        try:
            versions = [_versioned(raw).meta.versionId for raw in raws]
            owners = frozenset().union(*(self.facts(raw).owners for raw in raws))
        except (msgspec.DecodeError, RecursionError, NotMinimizable):
            return None
        same = all(wanted in ("", there) for wanted, there in zip(targets.values(), versions, strict=True))
        return Origin(raws, owners) if same else None
