"""The catalogue: which data categories there are, what belongs to each, what is sensitive, what each purpose may see.

A catalogue is data (files in `policies/catalogue_files/`, or an operator's own folder), read by the shell and handed in
as plain mappings. Everything in it is checked here, so that a mistake stops the start and not a request: an unknown
key, a category twice, a mask for no type are each an error that names its place.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Final

from policies.catalogue_document import CatalogueError, check_keys, items_at, mapping_at, string_at, strings_at
from policies.code_sets import CodeSet, Source, read_code_sets, read_source
from policies.codes import ACT_CODE_SYSTEM, SENSITIVE_WORDS_SYSTEM, SENSITIVITY_SYSTEM
from policies.model import Coding, Scope
from policies.parts import check_parts, joined, with_parts
from policies.purpose_of_use import BREAK_GLASS
from policies.sensitive_codes import SensitiveCodes
from policies.sensitive_words import SensitiveWords, read_sensitive_words


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
    part_of: str = ""
    """Code of the category of which it is a part (policies.parts); empty for none."""
    always: bool = False
    """Never asked about: providers, places, products. Holds nothing about a patient."""
    emergency: bool = True
    """Whether emergency access opens it."""


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
    extensions: Mapping[str, frozenset[str]]
    """By profile of masks: URLs of extensions that may stay; every other one is removed."""
    whole_elements: frozenset[str]
    """Profiles of masks under which an element that is named stays whole, with extensions and whatever else inside."""
    contained: frozenset[str]
    """Types that may stay when contained: products and providers, never data about a patient."""
    named_references: frozenset[str]
    """Types whose `Reference.display` may stay."""
    harmless_labels: frozenset[Coding]
    """Security labels that say nothing about sensitivity (handling, integrity, test data)."""
    code_sets: tuple[CodeSet, ...] = ()
    """Clinical codes that make data sensitive where the upstream doesn't label."""
    sensitive_words: SensitiveWords = field(default_factory=SensitiveWords)
    """What words say where no code does."""
    label_sources: tuple[Source, ...] = ()
    """Where the meaning of the security labels comes from."""
    scopes_by_type: Mapping[str, tuple[tuple[Category, Scope], ...]] = field(default_factory=dict)

    @cached_property
    def codes(self) -> frozenset[str]:
        """Codes of all categories."""
        return frozenset(self.categories)

    @cached_property
    def wholes(self) -> Mapping[str, str]:
        """Of each category that is a part, the code of its whole."""
        return {c.code: c.part_of for c in self.categories.values() if c.part_of}

    def parts_of(self, whole: str) -> tuple[Category, ...]:
        """The parts of a category."""
        return tuple(c for c in self.categories.values() if c.part_of == whole)

    def common(self, some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
        """What both name, in the catalogue's order; a whole stands for its parts."""
        both = with_parts(some, self.wholes) & with_parts(others, self.wholes)
        return joined((code for code in self.categories if code in both), self.wholes)

    @cached_property
    def askable(self) -> Mapping[str, Purpose]:
        """Purposes that an app can be registered for. Nobody asks for break-glass: people give it, on a page."""
        return {code: purpose for code, purpose in self.purposes.items() if code != BREAK_GLASS}

    @cached_property
    def everyday(self) -> tuple[Category, ...]:
        """Categories with a toggle that aren't sensitive."""
        return tuple(c for c in self.categories.values() if not c.sensitive and not c.always)

    @cached_property
    def sensitive(self) -> tuple[Category, ...]:
        """Sensitive categories, each with a toggle of its own."""
        return tuple(c for c in self.categories.values() if c.sensitive)

    @cached_property
    def closed_in_emergency(self) -> tuple[Category, ...]:
        """What emergency access doesn't open."""
        return tuple(c for c in self.categories.values() if not c.emergency)

    @cached_property
    def sensitive_codes(self) -> SensitiveCodes:
        """The code sets, ready to be asked."""
        labels = ((label, c.code) for c in self.sensitive for label in c.labels)
        words = ((Coding(SENSITIVE_WORDS_SYSTEM, c.code), c.code) for c in self.sensitive)
        return SensitiveCodes(self.code_sets, (*labels, *words))

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
    """Check and compile the documents `categories`, `sensitivities`, `masks`, `code_sets` (already decoded).

    `code_sets` holds a document of code sets under each name; `sensitive_words` may be missing. Raises CatalogueError.
    """
    needed = {"categories", "sensitivities", "masks", "code_sets"}
    check_keys("catalogue", documents, needed, optional={"sensitive_words"})
    head, sensitivities, masks = documents["categories"], documents["sensitivities"], documents["masks"]
    check_keys("categories", head, {"version", "categories", "purposes", "durations"})
    check_keys("sensitivities", sensitivities, {"sources", "harmless", "categories"})
    check_keys("masks", masks, {"profiles", "extensions", "contained", "named_references"}, optional={"whole_elements"})
    categories = _unique(
        [
            *(_category(item) for item in items_at("categories", head["categories"])),
            *(_sensitive(item) for item in items_at("sensitivities", sensitivities["categories"])),
        ]
    )
    check_parts(categories)
    if sum(OTHER_SENSITIVE in c.labels for c in categories.values()) != 1:
        raise CatalogueError(f"sensitivities: exactly one category must carry the label `{_text_of(OTHER_SENSITIVE)}`")
    profiles = _profiles(masks["profiles"])
    purposes = {p.code: p for p in (_purpose(i, profiles) for i in items_at("purposes", head["purposes"]))}
    durations = {d.code: d for d in (_duration(i) for i in items_at("durations", head["durations"]))}
    if not purposes or not durations:
        raise CatalogueError("categories: at least one purpose and one duration are needed")
    sensitive = {c.code for c in categories.values() if c.sensitive}
    code_sets = (
        read_code_sets(name, mapping_at(name, document), sensitive)
        for name, document in sorted(documents["code_sets"].items())
    )
    return Catalogue(
        version=string_at("categories.version", head["version"]),
        categories=categories,
        purposes=purposes,
        durations=durations,
        masks=profiles,
        extensions=_extensions(masks["extensions"], profiles),
        whole_elements=_names("masks.whole_elements", masks.get("whole_elements", []), profiles),
        contained=frozenset(strings_at("masks.contained", masks["contained"])),
        named_references=frozenset(strings_at("masks.named_references", masks["named_references"])),
        harmless_labels=frozenset(_coding(t) for t in strings_at("sensitivities.harmless", sensitivities["harmless"])),
        code_sets=tuple(chain.from_iterable(code_sets)),
        sensitive_words=(
            read_sensitive_words(documents["sensitive_words"], sensitive)
            if "sensitive_words" in documents
            else SensitiveWords()
        ),
        label_sources=tuple(
            read_source("sensitivities.sources", item)
            for item in items_at("sensitivities.sources", sensitivities["sources"])
        ),
        scopes_by_type=_by_type(categories.values()),
    )


def _category(item: Mapping[str, object]) -> Category:
    code = string_at("categories.code", item.get("code"))
    place = f"categories.{code}"
    check_keys(place, item, {"code", "title", "description", "data"}, optional={"always", "emergency", "part_of"})
    if "part_of" in item and not item.keys().isdisjoint(("always", "emergency")):
        raise CatalogueError(f"{place}: a part is what its whole is: leave `always` and `emergency` to that")
    return Category(
        code=code,
        title=string_at(f"{place}.title", item["title"]),
        description=string_at(f"{place}.description", item["description"]),
        scopes=tuple(_scope(f"{place}.data", line) for line in items_at(f"{place}.data", item["data"])),
        part_of=string_at(f"{place}.part_of", item["part_of"]) if "part_of" in item else "",
        always=_flag(place, item, "always", unless=False),
        emergency=_flag(place, item, "emergency", unless=True),
    )


def _flag(place: str, item: Mapping[str, object], name: str, *, unless: bool) -> bool:
    value = item.get(name, unless)
    if not isinstance(value, bool):
        raise CatalogueError(f"{place}.{name}: must be true or false")
    return value


def _scope(place: str, line: Mapping[str, object]) -> Scope:
    resource_type = string_at(f"{place}.type", line.get("type"))
    parameters = tuple((name, string_at(f"{place}.{name}", value)) for name, value in line.items() if name != "type")
    return Scope("patient", resource_type, "rs", parameters)


def _sensitive(item: Mapping[str, object]) -> Category:
    code = string_at("sensitivities.code", item.get("code"))
    place = f"sensitivities.{code}"
    check_keys(place, item, {"code", "title", "description", "labels"}, optional={"emergency"})
    labels = frozenset(
        _coding(text) if "|" in text else Coding(ACT_CODE_SYSTEM, text)
        for text in strings_at(f"{place}.labels", item["labels"])
    )
    return Category(
        code=code,
        title=string_at(f"{place}.title", item["title"]),
        description=string_at(f"{place}.description", item["description"]),
        scopes=(),
        sensitive=True,
        labels=labels,
        emergency=_flag(place, item, "emergency", unless=False),
    )


def _purpose(item: Mapping[str, object], profiles: Mapping[str, object]) -> Purpose:
    check_keys("purposes", item, {"code", "title", "mask"})
    purpose = Purpose(*(string_at(f"purposes.{key}", item[key]) for key in ("code", "title", "mask")))
    if purpose.mask not in profiles:
        raise CatalogueError(f"purposes.{purpose.code}: there is no mask profile `{purpose.mask}`")
    return purpose


def _duration(item: Mapping[str, object]) -> Duration:
    check_keys("durations", item, {"code", "title", "hours"})
    hours = item["hours"]
    if hours is not None and (not isinstance(hours, int) or isinstance(hours, bool) or hours < 1):
        raise CatalogueError(f"durations: hours `{hours}` must be a whole number from 1, or null for no end")
    return Duration(string_at("durations.code", item["code"]), string_at("durations.title", item["title"]), hours)


def _profiles(value: object) -> Mapping[str, Mapping[str, frozenset[str]]]:
    if not isinstance(value, Mapping) or not value:
        raise CatalogueError("masks.profiles: must map a profile name to types")
    return {
        str(profile): {
            str(resource_type): frozenset(strings_at(f"masks.{profile}.{resource_type}", paths))
            for resource_type, paths in mapping_at(f"masks.{profile}", types).items()
        }
        for profile, types in value.items()
    }


def _extensions(value: object, profiles: Iterable[str]) -> Mapping[str, frozenset[str]]:
    found = mapping_at("masks.extensions", value)
    check_keys("masks.extensions", found, set(profiles))
    return {profile: frozenset(strings_at(f"masks.extensions.{profile}", urls)) for profile, urls in found.items()}


def _names(place: str, value: object, profiles: Container[str]) -> frozenset[str]:
    found = frozenset(strings_at(place, value))
    if unknown := sorted(name for name in found if name not in profiles):
        raise CatalogueError(f"{place}: there is no mask profile `{unknown[0]}`")
    return found


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
