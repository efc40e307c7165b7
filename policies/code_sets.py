"""Sets of clinical codes that make data sensitive, each with its source: facts from others, so that nobody need label.

A document of code sets (`policies/catalogue_files/code_sets/*.json`, docs/labels.md) names its sources with version
and licence, and holds sets: one sensitivity, one code system, codes. A code that ends in `*` stands for all codes
that begin with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from policies.catalogue_document import CatalogueError, check_keys, items_at, mapping_at, string_at, strings_at


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts come from, and on what terms."""

    name: str
    publisher: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True)
class CodeSet:
    """Codes of one system that put data into one sensitive category."""

    sensitivity: str
    """Code of the sensitive category."""
    system: str
    source: Source
    codes: tuple[str, ...]


def read_source(place: str, item: Mapping[str, object]) -> Source:
    """A named source. Raises CatalogueError."""
    check_keys(place, item, {"name", "publisher", "version", "licence"})
    return Source(*(string_at(f"{place}.{key}", item[key]) for key in ("name", "publisher", "version", "licence")))


def read_code_sets(name: str, document: Mapping[str, object], sensitivities: Collection[str]) -> tuple[CodeSet, ...]:
    """The sets of one document. Raises CatalogueError."""
    check_keys(name, document, {"sources", "sets"})
    sources = {
        str(key): read_source(f"{name}.sources.{key}", mapping_at(f"{name}.sources.{key}", item))
        for key, item in mapping_at(f"{name}.sources", document["sources"]).items()
    }
    sets = items_at(f"{name}.sets", document["sets"])
    named = {item.get("source") for item in sets}
    if idle := sorted(set(sources) - named):
        raise CatalogueError(f"{name}.sources: no set comes from `{idle[0]}`")
    return tuple(_set(f"{name}.sets[{index}]", item, sources, sensitivities) for index, item in enumerate(sets))


def _set(
    place: str, item: Mapping[str, object], sources: Mapping[str, Source], sensitivities: Collection[str]
) -> CodeSet:
    check_keys(place, item, {"sensitivity", "system", "source", "codes"})
    sensitivity, system, source = (
        string_at(f"{place}.{key}", item[key]) for key in ("sensitivity", "system", "source")
    )
    if sensitivity not in sensitivities:
        raise CatalogueError(f"{place}.sensitivity: there is no sensitive category `{sensitivity}`")
    if source not in sources:
        raise CatalogueError(f"{place}.source: `{source}` is not among the sources")
    codes = tuple(strings_at(f"{place}.codes", item["codes"]))
    for code in codes:
        if not code.rstrip("*") or "*" in code[:-1]:
            raise CatalogueError(f"{place}.codes: `{code}` must be a code, or the beginning of codes and one `*`")
    if not codes:
        raise CatalogueError(f"{place}.codes: must name a code")
    return CodeSet(sensitivity, system, sources[source], codes)
