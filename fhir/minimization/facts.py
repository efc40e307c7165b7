"""Extracts from a resource what rules may look at: `ResourceFacts`.

Only the resource's own content counts; what a caller or a Bundle says about it doesn't. Malformed content gives fewer
facts, or marks the resource foreign; it never raises once the JSON is an object.

A resource's facts are the sum of what its top-level members say (`MemberFacts`) and of a few that are read together
(`Outline`). So what a member says can be remembered: most of them come again and again (`fhir.minimization.members`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fhir.minimization.codings import Walk, below, coding_of, document_labels, is_shaped, labels_in
from fhir.minimization.question_codes import question_codes, question_names
from fhir.minimization.texts import Texts
from fhir.r4.definitions import Definitions, SearchPath, json_members
from fhir.r4.instants import instant_of, span_of
from fhir.r4.own_types import OWN_TYPES
from fhir.search.values import find_by_path
from policies.catalogue import Catalogue
from policies.model import Coding, ResourceFacts

_DATES: Final = (
    # docs/consent-semantics.md, dataPeriod: when it happened, else when it was recorded, else lastUpdated.
    *("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming", "onsetDateTime", "onsetPeriod"),
    *("performedDateTime", "performedPeriod", "occurrenceDateTime", "occurrencePeriod", "occurrenceTiming"),
    *("occurredDateTime", "occurredPeriod", "billablePeriod", "period", "start", "started", "startDate"),
    *("lastOccurrence", "whenHandedOver", "whenPrepared", "collection.collectedDateTime", "collection.collectedPeriod"),
    *("createdDateTime", "createdPeriod", "context.period"),
    *("date", "dateTime", "authored", "authoredOn", "dateAsserted", "recordedDate", "recorded", "issued"),
    *("receivedTime", "statusDate", "created"),
)
_DATE_PATHS: Final = tuple((name, part) for name, _, part in (path.partition(".") for path in _DATES))
_AUTHORS: Final = ("author", "performer", "recorder", "requester", "asserter")
_STATEMENTS: Final = frozenset({"conclusion", "description", "title", "valueString"})
"""Texts of a resource itself that name what it is about."""
_ANYWHERE: Final = frozenset({*_AUTHORS, *_STATEMENTS, "code", "securityLabel"})
_NO_CODINGS: Final[frozenset[Coding]] = frozenset()
_NOBODY: Final[frozenset[str]] = frozenset()


Outline = Mapping[str, object]
"""A resource's members by name. Those of `FactsReader.whole`, and strings, are decoded; of others the name counts."""


@dataclass(slots=True)
class MemberFacts:
    """What one top-level member adds to the facts of its resource; names as in `ResourceFacts`."""

    tokens: Sequence[tuple[str, frozenset[Coding]]] = ()
    codes: frozenset[Coding] = _NO_CODINGS
    labels: frozenset[Coding] = _NO_CODINGS
    references: frozenset[str] = _NOBODY
    owners: frozenset[str] = _NOBODY
    authors: frozenset[str] = _NOBODY
    foreign: bool = False


class _All(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


_ALL: Final = _All()


@dataclass(frozen=True, slots=True)
class _MemberPlan:
    """What to look for in one member of one resource type."""

    owners: tuple[SearchPath, ...] = ()
    tokens: tuple[tuple[str, tuple[SearchPath, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class _TypePlan:
    """What to look for in one resource type; compiled once."""

    members: Mapping[str, _MemberPlan]
    names: frozenset[str]
    """Of members that mean something whatever stands in them."""
    no_tokens: Mapping[str, frozenset[Coding]]
    """Every token parameter that scopes may name, with nothing found."""
    dates: tuple[tuple[str, str], ...]
    """Members that say when it is of, and the part of it that does if not the whole."""


class FactsReader:
    """Reads facts by the official SearchParameter expressions and the catalogue's token parameters."""

    whole: Final = frozenset({"meta", *(name for name, _ in _DATE_PATHS)})
    """Members that `gather` looks into; of others it is told what `of_member` found in them."""

    def __init__(self, definitions: Definitions, catalogue: Catalogue, *, upstream_bases: Sequence[str] = ()) -> None:
        self._definitions = definitions
        self._bases = tuple(base.rstrip("/") + "/" for base in upstream_bases)
        self._parameters = {
            resource_type: tuple({name for _, scope in pairs for name, _ in scope.parameters} | {"category", "code"})
            for resource_type, pairs in catalogue.scopes_by_type.items()
        }
        self._texts = Texts(catalogue)
        self._plans: dict[str, _TypePlan] = {}

    def read(self, resource: Mapping[str, object]) -> ResourceFacts:
        """Facts of one decoded resource."""
        kind = _text(resource.get("resourceType"))
        return self.gather(kind, resource, [self.of_member(kind, name, value) for name, value in resource.items()])

    def looked_into(self, resource_type: str) -> Container[str]:
        """Members in which `of_member` may find something though no coding and no reference stands in them."""
        return _ALL if resource_type == "QuestionnaireResponse" else self._plan(resource_type).names

    def of_member(self, resource_type: str, name: str, value: object) -> MemberFacts:
        """What one decoded member says by itself."""
        if name == "meta":
            return NOTHING
        found = MemberFacts()
        member = {name: value}
        plan = self._plan(resource_type).members.get(name)
        if plan is not None:
            found.owners, found.foreign = self._owners(resource_type, member, plan.owners)
            found.tokens = [(code, codings) for code, paths in plan.tokens if (codings := _codings_at(member, paths))]
        if isinstance(value, dict | list):
            walk = Walk(self._bases)
            walk.visit(value)
            found.codes, found.labels = frozenset(walk.codes), frozenset(walk.labels)
            found.references = frozenset(walk.references)
            found.foreign = found.foreign or walk.unreadable
            if walk.packages:
                found.codes |= self._texts.of_packages(value)
            if walk.texts:
                found.codes |= self._texts.told(resource_type, name, walk.texts)
            if name in _AUTHORS:
                found.authors = frozenset(self._authors(value))
        elif name in _STATEMENTS and isinstance(value, str):
            found.codes = self._texts.told(resource_type, name, [value])
        if name == "code" and not (isinstance(value, str) or is_shaped(value)):
            found.foreign = True  # a code that can't be read may be any
        if resource_type == "DocumentReference" and name == "securityLabel":
            found.labels |= frozenset(document_labels(value))
        elif resource_type == "QuestionnaireResponse":
            names = frozenset(question_names(member))
            found.codes |= self._texts.told(resource_type, name, names).union(question_codes(names))
        return NOTHING if found == NOTHING else found

    def gather(self, resource_type: str, outline: Outline, members: Iterable[MemberFacts]) -> ResourceFacts:
        """The facts of a resource, from what its members say."""
        meta = outline.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        plan = self._plan(resource_type)
        tokens = dict(plan.no_tokens)
        codes, references = _itself(outline, self._bases)
        labels = frozenset(labels_in(meta.get("security"))) if "security" in meta else _NO_CODINGS
        owners = authors = _NOBODY
        foreign = "modifierExtension" in outline or "implicitRules" in outline
        if "tag" in meta or "extension" in meta:  # where some write their labels
            walk = Walk(self._bases)
            walk.visit([meta.get("tag"), meta.get("extension")])
            codes |= walk.codes
            foreign = foreign or walk.unreadable
        # Most say nothing of most. One that is alone with something stays the same object, whose hash is known.
        for said in members:
            if said is NOTHING:
                continue
            for code, codings in said.tokens:
                tokens[code] = tokens[code] | codings if tokens[code] else codings
            if said.codes:
                codes = codes | said.codes if codes else said.codes
            if said.references:
                references = references | said.references if references else said.references
            if said.owners:
                owners = owners | said.owners if owners else said.owners
            if said.labels:
                labels |= said.labels
            if said.authors:
                authors |= said.authors
            if said.foreign:
                foreign = True
        name = _text(outline.get("id"))
        return ResourceFacts(
            resource_type=resource_type,
            id=name,
            owners=frozenset({name}) if resource_type == "Patient" else owners,
            foreign=foreign,
            tokens=tokens,
            codes=codes,
            labels=labels,
            profiles=frozenset(p for p in _list(meta.get("profile")) if isinstance(p, str)),
            period=_when(plan.dates, outline, meta),
            references=references,
            authors=authors,
        )

    def _plan(self, resource_type: str) -> _TypePlan:
        plan = self._plans.get(resource_type)
        if plan is None:
            plan = self._compiled(resource_type)
            if resource_type in self._definitions.types:
                # INVARIANT: only known types are kept, so that hostile input can't grow this
                self._plans[resource_type] = plan
        return plan

    def _compiled(self, resource_type: str) -> _TypePlan:
        if resource_type not in self._definitions.types:
            return _TypePlan({}, _ANYWHERE, {}, _DATE_PATHS)
        known = self._definitions.search_parameters(resource_type)
        tokens = {n: known[n].paths for n in self._parameters.get(resource_type, ()) if n in known}
        tokens = {name: paths for name, paths in tokens.items() if known[name].kind == "token"}
        # A Patient is its own owner: whom its links name says nothing of whose it is.
        owners = () if resource_type == "Patient" else self._definitions.owner_paths(resource_type)
        names = {path.steps[0] for paths in (owners, *tokens.values()) for path in paths}
        elements = self._definitions.children(resource_type).items()
        members = {member for name, element in elements for member, _ in json_members(name, element)}
        return _TypePlan(
            {
                name: _MemberPlan(
                    tuple(path for path in owners if path.steps[0] == name),
                    tuple((code, at) for code, paths in tokens.items() if (at := _beginning(paths, name))),
                )
                for name in names
            },
            frozenset(names) | _ANYWHERE,
            dict.fromkeys(tokens, _NO_CODINGS),
            tuple((name, part) for name, part in _DATE_PATHS if name in members),
        )

    def _owners(
        self, resource_type: str, resource: Mapping[str, object], paths: Iterable[SearchPath]
    ) -> tuple[frozenset[str], bool]:
        """Patients whom the resource is about; and whether a subject is something else than a plain reference."""
        owners: set[str] = set()
        foreign = False
        for path in paths:
            for value in find_by_path(resource, path):
                literal = self.relative(value.get("reference")) if isinstance(value, dict) else None
                if literal is None:
                    # Whom it means can't be told, unless it says itself that it is no patient, or Assent wrote it.
                    foreign = foreign or not (resource_type in OWN_TYPES or _says_other_type(value))
                elif literal.startswith("Patient/"):
                    owners.add(literal.removeprefix("Patient/"))
                elif path.target is None:
                    # A subject that may be a Group or a Device: not a patient's own data.
                    foreign = True
        return frozenset(owners), foreign

    def relative(self, literal: object) -> str | None:
        """A literal reference as `Type/id`, or None for one that points anywhere else."""
        if not isinstance(literal, str):
            return None
        literal = below(self._bases, literal)
        kind, _, name = literal.partition("/")
        if kind and name and "/" not in name and ":" not in literal:
            return literal
        parts = literal.split("/")
        if len(parts) == 4 and parts[2] == "_history":
            parts = parts[:2]
        return "/".join(parts) if len(parts) == 2 and all(parts) and ":" not in literal else None

    def _authors(self, value: object) -> Iterable[str]:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                actor = item.get("actor") if isinstance(item.get("actor"), dict) else item
                literal = self.relative(actor.get("reference")) if isinstance(actor, dict) else None
                yield literal or ""  # somebody, told in a way that can't be compared


NOTHING: Final = MemberFacts()
"""What most members say."""


def _beginning(paths: Iterable[SearchPath], name: str) -> tuple[SearchPath, ...]:
    return tuple(path for path in paths if path.steps[0] == name)


def _itself(outline: Outline, bases: tuple[str, ...]) -> tuple[frozenset[Coding], frozenset[str]]:
    """What the resource says as an object among others: its own `code` with its `system`, its own `reference`."""
    if not (type(outline.get("code")) is str or type(outline.get("reference")) is str):
        return _NO_CODINGS, _NOBODY
    walk = Walk(bases)
    walk.note(outline)
    return frozenset(walk.codes), frozenset(walk.references)


def _says_other_type(value: object) -> bool:
    """A reference by name or identifier only, whose `Reference.type` is given and isn't Patient."""
    if not isinstance(value, dict) or "reference" in value:
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind.rpartition("/")[2] not in ("", "Patient", "Group")


def _codings_at(resource: Mapping[str, object], paths: Iterable[SearchPath]) -> frozenset[Coding]:
    found: set[Coding] = set()
    for path in paths:
        for value in find_by_path(resource, path):
            if isinstance(value, str):
                found.add(Coding("", value))
            elif isinstance(value, dict):
                codings = value.get("coding", [value])
                for item in codings if isinstance(codings, list) else ():
                    if isinstance(item, dict) and isinstance(item.get("code"), str):
                        found.add(coding_of(item.get("system"), item["code"]))
    return frozenset(found)


def _when(
    dates: Iterable[tuple[str, str]], outline: Outline, meta: Mapping[str, object]
) -> tuple[datetime, datetime] | None:
    for name, part in dates:
        if name in outline:
            there = outline[name]
            if not part:
                return _interval(there)
            if isinstance(there, dict) and part in there:
                return _interval(there[part])
    return _interval(meta["lastUpdated"]) if "lastUpdated" in meta else None


def _interval(value: object) -> tuple[datetime, datetime] | None:
    """From its first to its last moment; for a Timing, whose repetitions aren't reckoned, any time at all."""
    if isinstance(value, dict):
        start, end = value.get("start"), value.get("end")
        low = instant_of(start, end=False) if start is not None else datetime.min.replace(tzinfo=UTC)
        high = instant_of(end, end=True) if end is not None else datetime.max.replace(tzinfo=UTC)
        return None if low is None or high is None else (low, high)
    return span_of(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
