"""Who belongs to whom, and what refers to what, as far as consents ask: read from the upstream, for a bounded time.

docs/decisions/0034-memberships.md. Nothing is asked for consents that name no group. Whatever the upstream doesn't
say, says late or says unclearly isn't known; what that means for permits and denies is `policies.memberships`' to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from fhir.consents.directory_lookup import DirectoryLookup, Lookup
from fhir.consents.identifiers import identified
from fhir.consents.members import UNKNOWN, Json, is_held, members_of, name_at, references_in
from policies.consent_names import named_in
from policies.consent_rule import ConsentRule
from policies.memberships import CLINICIANS, NOTHING_KNOWN, OF_PERSONS, Knowledge, Memberships, is_identifier, kind_of

_READ: Final = frozenset({"CareTeam", "Group", "PractitionerRole"})
"""What names its members itself."""
_DEEPEST: Final = 8
"""Groups within groups, and organizations within organizations."""


class Knows(Protocol):
    """Knows what consents ask beyond the request and the data."""

    async def knowledge(self, rules: Iterable[ConsentRule], users: Iterable[str]) -> Knowledge:
        """What is known for these rules and these names of the person who asks."""


class NoDirectory:
    """Knows nothing."""

    async def knowledge(self, rules: Iterable[ConsentRule], users: Iterable[str]) -> Knowledge:
        """As `Knows.knowledge`."""
        return NOTHING_KNOWN


NO_DIRECTORY: Final = NoDirectory()


class Directory:
    """Answers what consents ask of it."""

    def __init__(self, lookup: DirectoryLookup, clock: Callable[[], datetime], lasts: timedelta) -> None:
        """`lasts`: for how long an answer is believed; zero for a server that asks nobody."""
        self._lookup = lookup
        self._clock = clock
        self._lasts = lasts

    async def knowledge(self, rules: Iterable[ConsentRule], users: Iterable[str]) -> Knowledge:
        """As `Knows.knowledge`."""
        named = named_in(rules)
        persons = frozenset(users)
        roles = {name for name in persons if kind_of(name) == "PractitionerRole"}
        asks = bool(roles and named.actors) or any(kind_of(name) != "Practitioner" for name in named.actors)
        if not self._lasts or not (asks or named.authors or named.related):
            return NOTHING_KNOWN
        now = self._clock()
        lookup = self._lookup.begin(now, self._lasts)
        return Knowledge(
            askers=await _askers(lookup, named.actors, persons, now) if asks else None,
            authors=await _authors(lookup, named.authors, now) if named.authors else None,
            links=await _links(lookup, named.related) if named.related else None,
            until=lookup.until,
        )


@dataclass(slots=True)
class _Found:
    """What is found on the way."""

    lookup: Lookup
    now: datetime
    held_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    formerly: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    settled: set[str] = field(default_factory=set)

    async def named(self, references: Iterable[object]) -> list[str]:
        """As `name_at`, by whom identifiers mean; empty for who can't be told."""
        names = [name_at(reference) for reference in references]
        known = await identified(self.lookup, set(filter(is_identifier, names)), self.now)
        return [known.get(name, "") if is_identifier(name) else name for name in names]

    def memberships(self) -> Memberships:
        return Memberships(_frozen(self.held_by), _frozen(self.formerly), frozenset(self.settled))

    async def group(self, wanted: str, *, organizations: bool) -> None:
        """Note who belongs to a group, team or role, and to those within it; each is read once, so cycles end.

        `organizations`: whether it is known otherwise who belongs to one.
        """
        whole, seen, level = True, {wanted}, [wanted]
        for _ in range(_DEEPEST):
            below: set[str] = set()
            for name in level:
                resource = await self.lookup.resource(name)
                members = UNKNOWN if resource is None else members_of(resource, self.now)
                known = await identified(self.lookup, set(filter(is_identifier, members.names)), self.now)
                told = {known.get(member, "") if is_identifier(member) else member for member in members.names}
                whole = whole and members.whole and "" not in told
                for member in sorted(told - {""}):
                    self.held_by[member].add(name)
                    if kind_of(member) in _READ:
                        below.add(member)
                    elif kind_of(member) in OF_PERSONS:
                        whole = whole and organizations and kind_of(member) == "Organization"
            level = sorted(below - seen)
            seen |= below
        if whole and not level:
            self.settled.add(wanted)

    async def person(self, name: str) -> bool:
        """Note the roles of a clinician and their organizations; whether these are all."""
        whole = True
        if kind_of(name) == "PractitionerRole":
            role = await self.lookup.resource(name)
            (practitioner,) = await self.named([None if role is None else role.get("practitioner")])
            if role is None or kind_of(practitioner) != "Practitioner" or not is_held(role, self.now):
                return False
            self.held_by[name].add(practitioner)
            name, whole = practitioner, await self.role(practitioner, role)
        roles = await self.lookup.search("PractitionerRole", "practitioner", name)
        for role in roles or ():
            if name_at(role.get("practitioner")) == name and is_held(role, self.now):
                whole = await self.role(name, role) and whole
        return whole and roles is not None

    async def role(self, practitioner: str, role: Json) -> bool:
        """Note one role and its organizations."""
        own = f"PractitionerRole/{role.get('id')}"
        self.held_by[practitioner].add(own)
        if "organization" not in role:
            return True
        (organization,) = await self.named([role.get("organization")])
        if kind_of(organization) != "Organization":
            return False
        self.held_by[own].add(organization)
        return await self.parents(organization)

    async def parents(self, organization: str) -> bool:
        """Note what an organization is part of, up to the top."""
        for _ in range(_DEEPEST):
            resource = await self.lookup.resource(organization)
            if resource is None or "modifierExtension" in resource:
                return False
            if "partOf" not in resource:
                return True
            (parent,) = await self.named([resource.get("partOf")])
            if kind_of(parent) != "Organization":
                return False
            if parent in self.held_by[organization]:
                return True
            self.held_by[organization].add(parent)
            organization = parent
        return False

    async def roles_by_identifier(self, users: frozenset[str]) -> bool:
        """Note who has a role in the organizations found, or in their parts, that names them by an identifier alone.

        A search by the practitioner doesn't find such a role. False when there is one that may be anybody's.
        """
        holding, _ = self.memberships().of(users)
        seen = {name for name in {*self.settled, *self.held_by} - holding if kind_of(name) == "Organization"}
        level = sorted(seen)
        for _ in range(_DEEPEST):
            parts = await self.lookup.search("Organization", "partof", ",".join(level)) if level else ()
            level = []
            for part in parts or ():
                own, parent = f"Organization/{part.get('id')}", name_at(part.get("partOf"))
                if parent in seen:
                    self.held_by[own].add(parent)
                    level += [own] if own not in seen else []
                    seen.add(own)
        roles = await self.lookup.search("PractitionerRole", "organization", ",".join(sorted(seen))) if seen else ()
        logical = [
            role
            for role in roles or ()
            if name_at(role.get("organization")) in seen
            and is_held(role, self.now)
            and "practitioner" in role
            and kind_of(name_at(role.get("practitioner"))) != "Practitioner"
        ]
        practitioners = await self.named(role.get("practitioner") for role in logical)
        for role, practitioner in zip(logical, practitioners, strict=True):
            own = f"PractitionerRole/{role.get('id')}"
            self.held_by[own].add(name_at(role.get("organization")))
            self.held_by[practitioner].add(own)
        return all(practitioners)

    async def staff(self, organization: str, depth: int = 0) -> bool:
        """Note who works in an organization, and in its parts."""
        roles = await self.lookup.search("PractitionerRole", "organization", organization)
        parts = await self.lookup.search("Organization", "partof", organization)
        whole = roles is not None and parts is not None and depth < _DEEPEST
        practitioners = await self.named(role.get("practitioner") for role in roles or ())
        for role, practitioner in zip(roles or (), practitioners, strict=True):
            if name_at(role.get("organization")) == organization:
                own = f"PractitionerRole/{role.get('id')}"
                holders = self.held_by if is_held(role, self.now) else self.formerly
                holders[own].add(organization)
                holders[practitioner or own].add(own)
                whole = whole and bool(practitioner or "practitioner" not in role)
        for part in parts or ():
            own = f"Organization/{part.get('id')}"
            if name_at(part.get("partOf")) != organization or organization in self.held_by[own]:
                continue
            self.held_by[own].add(organization)
            whole = depth < _DEEPEST and await self.staff(own, depth + 1) and whole
        return whole


async def _askers(lookup: Lookup, wanted: frozenset[str], users: frozenset[str], now: datetime) -> Memberships:
    """Who of the named ones is the person who asks, or holds them or the app."""
    found = _Found(lookup, now)
    others = await identified(lookup, set(filter(is_identifier, wanted)), now)
    for name, own in others.items():
        found.held_by[own].add(name)
    clinicians = sorted(name for name in users if kind_of(name) in CLINICIANS)
    known = bool(clinicians) and all([await found.person(name) for name in clinicians])
    by_role = any(kind_of(name) == "PractitionerRole" for name in users)
    for name in sorted({name for name in wanted if not is_identifier(name)} | set(others.values())):
        if kind_of(name) in _READ:
            await found.group(name, organizations=known)
        elif known or (kind_of(name) == "Practitioner" and not by_role):
            found.settled.add(name)
    if known and not await found.roles_by_identifier(users):
        found.settled = {name for name in found.settled if kind_of(name) == "Practitioner"}
    found.settled.update(name for name, own in others.items() if own in found.settled)
    return found.memberships()


async def _authors(lookup: Lookup, wanted: frozenset[str], now: datetime) -> Memberships:
    """Who belongs to the named ones."""
    found = _Found(lookup, now)
    for name in sorted(wanted):
        if kind_of(name) == "Organization":
            if await found.staff(name):
                found.settled.add(name)
        elif kind_of(name) in _READ:
            await found.group(name, organizations=False)
        else:
            roles = await lookup.search("PractitionerRole", "practitioner", name)
            for role in roles or ():
                if name_at(role.get("practitioner")) == name:
                    found.held_by[f"PractitionerRole/{role.get('id')}"].add(name)
            if roles is not None:
                found.settled.add(name)
    return found.memberships()


async def _links(lookup: Lookup, wanted: frozenset[str]) -> dict[str, frozenset[str]]:
    found = {name: await lookup.resource(name) for name in sorted(wanted)}
    return {name: frozenset(references_in(resource)) for name, resource in found.items() if resource is not None}


def _frozen(sets: dict[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in sets.items()}
