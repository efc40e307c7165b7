"""The catalogue: which data categories there are, what belongs to each, what is sensitive, what each purpose may see.

A catalogue is data (YAML under `policies/catalogue/`, or an operator's own folder), read by the shell and handed in as
plain mappings. Everything in it is checked here, so that a mistake stops the start and not a request: an unknown key,
a category twice, a mask for no type are each an error that names its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from policies.codes import ACT_CODE_SYSTEM, SENSITIVITY_SYSTEM
from policies.model import Coding, Scope


class CatalogueError(ValueError):
    """The catalogue can't be used; the message names the place and says what is allowed there."""


@dataclass(frozen=True, slots=True, eq=False)
class Category:
    """One thing that a person can share or keep: a toggle on the consent page."""

    code: str
    title: str
    description: str
    scopes: tuple[Scope, ...]
    """What belongs to it, as SMART scopes in `patient` context. Empty for a sensitive category."""
    sensitive: bool = False
    """A sensitive category cuts across the others: data in it needs it *and* an everyday category."""
    labels: frozenset[Coding] = frozenset()
    """Security labels that put a resource into this sensitive category."""
    codes: frozenset[Coding] = frozenset()
    """Clinical codes that do the same where the upstream doesn't label."""
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Clinical code prefixes (ICD-10-CM blocks) by code system, likewise."""
    bare_codes: frozenset[str] = frozenset()
    """The codes of `codes` without their systems, for data that names none."""
    always: bool = False
    """Never asked about: providers, places, products. Holds nothing about a patient."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """A purpose of use (v3-PurposeOfUse) that the catalogue knows."""

    code: str
    title: str
    mask: str
    """Name of the mask profile that applies."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A choice of how long; `days` None means until it is taken back."""

    code: str
    title: str
    hours: int | None


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The checked catalogue. `masks[profile][type]` is the allow-list of element paths below the type."""

    version: str
    categories: Mapping[str, Category]
    purposes: Mapping[str, Purpose]
    durations: Mapping[str, Duration]
    masks: Mapping[str, Mapping[str, frozenset[str]]]
    extensions: frozenset[str]
    """Extension URLs that may stay at the top of a resource; every other one there is removed."""
    contained: frozenset[str]
    """Types that may stay when contained: products and providers, never data about a patient."""
    named_references: frozenset[str]
    """Types whose `Reference.display` may stay."""
    harmless_labels: frozenset[Coding]
    """Security labels that say nothing about sensitivity (handling, integrity, test data)."""
    scopes_by_type: Mapping[str, tuple[tuple[Category, Scope], ...]] = field(default_factory=dict)

    @cached_property
    def everyday(self) -> tuple[Category, ...]:
        """Categories with a toggle that aren't sensitive."""
        return tuple(c for c in self.categories.values() if not c.sensitive and not c.always)

    @cached_property
    def sensitive(self) -> tuple[Category, ...]:
        """Sensitive categories, each with a toggle of its own."""
        return tuple(c for c in self.categories.values() if c.sensitive)

    @cached_property
    def always(self) -> frozenset[str]:
        """Codes of the categories that nobody is asked about."""
        return frozenset(c.code for c in self.categories.values() if c.always)

    def mask(self, purpose: str, resource_type: str) -> frozenset[str] | None:
        """The allow-list for a type under a purpose of use; None when nothing of it may be seen."""
        known = self.purposes.get(purpose)
        return None if known is None else self.masks[known.mask].get(resource_type)


OTHER_SENSITIVE: Final = Coding(SENSITIVITY_SYSTEM, "OTHER")
"""INVARIANT: exactly one category carries this label; what is sensitive for an unknown reason falls into it."""


def read_catalogue(documents: Mapping[str, Mapping[str, object]]) -> Catalogue:
    """Check and compile the documents `categories`, `sensitivities`, `masks` (YAML already read).

    Raises CatalogueError.
    """
    _keys("catalogue", documents, {"categories", "sensitivities", "masks"})
    head, sensitivities, masks = documents["categories"], documents["sensitivities"], documents["masks"]
    _keys("categories", head, {"version", "categories", "purposes", "durations"})
    _keys("sensitivities", sensitivities, {"sources", "harmless", "categories"})
    _keys("masks", masks, {"profiles", "extensions", "contained", "named_references"})
    categories = _unique(
        [
            *(_category(item) for item in _items("categories", head["categories"])),
            *(_sensitive(item) for item in _items("sensitivities", sensitivities["categories"])),
        ]
    )
    if sum(OTHER_SENSITIVE in c.labels for c in categories.values()) != 1:
        raise CatalogueError(f"sensitivities: exactly one category must carry the label `{_text_of(OTHER_SENSITIVE)}`")
    profiles = _profiles(masks["profiles"])
    purposes = {p.code: p for p in (_purpose(i, profiles) for i in _items("purposes", head["purposes"]))}
    durations = {d.code: d for d in (_duration(i) for i in _items("durations", head["durations"]))}
    if not purposes or not durations:
        raise CatalogueError("categories: at least one purpose and one duration are needed")
    return Catalogue(
        version=_string("categories.version", head["version"]),
        categories=categories,
        purposes=purposes,
        durations=durations,
        masks=profiles,
        extensions=frozenset(_strings("masks.extensions", masks["extensions"])),
        contained=frozenset(_strings("masks.contained", masks["contained"])),
        named_references=frozenset(_strings("masks.named_references", masks["named_references"])),
        harmless_labels=frozenset(_coding(t) for t in _strings("sensitivities.harmless", sensitivities["harmless"])),
        scopes_by_type=_by_type(categories.values()),
    )


def _category(item: Mapping[str, object]) -> Category:
    code = _string("categories.code", item.get("code"))
    place = f"categories.{code}"
    _keys(place, item, {"code", "title", "description", "data"}, optional={"always"})
    always = item.get("always", False)
    if not isinstance(always, bool):
        raise CatalogueError(f"{place}.always: must be true or false")
    return Category(
        code=code,
        title=_string(f"{place}.title", item["title"]),
        description=_string(f"{place}.description", item["description"]),
        scopes=tuple(_scope(f"{place}.data", line) for line in _items(f"{place}.data", item["data"])),
        always=always,
    )


def _scope(place: str, line: Mapping[str, object]) -> Scope:
    resource_type = _string(f"{place}.type", line.get("type"))
    parameters = tuple((name, _string(f"{place}.{name}", value)) for name, value in line.items() if name != "type")
    return Scope("patient", resource_type, "rs", parameters)


def _sensitive(item: Mapping[str, object]) -> Category:
    code = _string("sensitivities.code", item.get("code"))
    place = f"sensitivities.{code}"
    _keys(place, item, {"code", "title", "description", "labels"}, optional={"codes"})
    labels = frozenset(
        _coding(text) if "|" in text else Coding(ACT_CODE_SYSTEM, text)
        for text in _strings(f"{place}.labels", item["labels"])
    )
    exact: set[Coding] = set()
    prefixes: dict[str, list[str]] = {}
    tables = item.get("codes", {})
    if not isinstance(tables, Mapping):
        raise CatalogueError(f"{place}.codes: must map a code system to its codes")
    for system, codes in tables.items():
        for text in _strings(f"{place}.codes.{system}", codes):
            if text.endswith("*"):
                prefixes.setdefault(str(system), []).append(text[:-1])
            else:
                exact.add(Coding(str(system), text))
    return Category(
        code=code,
        title=_string(f"{place}.title", item["title"]),
        description=_string(f"{place}.description", item["description"]),
        scopes=(),
        sensitive=True,
        labels=labels,
        codes=frozenset(exact),
        bare_codes=frozenset(coding.code for coding in exact),
        prefixes={system: tuple(found) for system, found in prefixes.items()},
    )


def _purpose(item: Mapping[str, object], profiles: Mapping[str, object]) -> Purpose:
    _keys("purposes", item, {"code", "title", "mask"})
    purpose = Purpose(*(_string(f"purposes.{key}", item[key]) for key in ("code", "title", "mask")))
    if purpose.mask not in profiles:
        raise CatalogueError(f"purposes.{purpose.code}: there is no mask profile `{purpose.mask}`")
    return purpose


def _duration(item: Mapping[str, object]) -> Duration:
    _keys("durations", item, {"code", "title", "hours"})
    hours = item["hours"]
    if hours is not None and (not isinstance(hours, int) or isinstance(hours, bool) or hours < 1):
        raise CatalogueError(f"durations: hours `{hours}` must be a whole number from 1, or null for no end")
    return Duration(_string("durations.code", item["code"]), _string("durations.title", item["title"]), hours)


def _profiles(value: object) -> Mapping[str, Mapping[str, frozenset[str]]]:
    if not isinstance(value, Mapping) or not value:
        raise CatalogueError("masks.profiles: must map a profile name to types")
    return {
        str(profile): {
            str(resource_type): frozenset(_strings(f"masks.{profile}.{resource_type}", paths))
            for resource_type, paths in _mapping(f"masks.{profile}", types).items()
        }
        for profile, types in value.items()
    }


def _by_type(categories: Iterable[Category]) -> Mapping[str, tuple[tuple[Category, Scope], ...]]:
    found: dict[str, list[tuple[Category, Scope]]] = {}
    for category in categories:
        for scope in category.scopes:
            found.setdefault(scope.resource_type, []).append((category, scope))
    return {resource_type: tuple(pairs) for resource_type, pairs in found.items()}


def _unique(categories: Sequence[Category]) -> Mapping[str, Category]:
    found: dict[str, Category] = {}
    for category in categories:
        if category.code in found:
            raise CatalogueError(f"categories: `{category.code}` stands twice")
        found[category.code] = category
    return found


def _coding(text: str) -> Coding:
    system, _, code = text.rpartition("|")
    if not system or not code:
        raise CatalogueError(f"`{text}` must be written system|code")
    return Coding(system, code)


def _text_of(coding: Coding) -> str:
    return f"{coding.system}|{coding.code}"


def _keys(
    place: str, item: Mapping[str, object], needed: set[str], *, optional: set[str] | frozenset[str] = frozenset()
) -> None:
    unknown, missing = sorted(set(item) - needed - optional), sorted(needed - set(item))
    if unknown:
        raise CatalogueError(
            f"{place}: `{unknown[0]}` is not known here, allowed: {', '.join(sorted(needed | optional))}"
        )
    if missing:
        raise CatalogueError(f"{place}: `{missing[0]}` is missing")


def _mapping(place: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise CatalogueError(f"{place}: must be a mapping")
    return value


def _items(place: str, value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise CatalogueError(f"{place}: must be a list")
    return [_mapping(place, item) for item in value]


def _strings(place: str, value: object) -> list[str]:
    if not isinstance(value, list):
        raise CatalogueError(f"{place}: must be a list of texts")
    return [_string(place, item) for item in value]


def _string(place: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise CatalogueError(f"{place}: must be a text, found `{value}`")
    return value.strip()
