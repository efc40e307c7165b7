"""What the catalogue says to people, in another language: titles and descriptions, laid over the English ones.

English stands in the catalogue itself and is what counts; another language is a document of its own, keyed by code.
What it doesn't translate stays English, so that an operator's own category is shown before somebody has translated it.
A code that the catalogue doesn't have is a mistake and stops the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policies.catalogue import Catalogue, Category
from policies.catalogue_document import CatalogueError

_GROUPS = {"categories": {"title", "description"}, "purposes": {"title"}, "durations": {"title"}}


def in_other_words(catalogue: Catalogue, document: Mapping[str, object], *, place: str) -> Catalogue:
    """The same catalogue with the document's words.

    `document` maps `categories`, `purposes` and `durations` to codes, and each code to its `title` (and a category's
    `description`). `place` names it in messages. Raises CatalogueError.
    """
    unknown = sorted(set(document) - set(_GROUPS))
    if unknown:
        raise CatalogueError(f"{place}: `{unknown[0]}` is not known here, allowed: {', '.join(_GROUPS)}")
    known = {"categories": catalogue.categories, "purposes": catalogue.purposes, "durations": catalogue.durations}
    words = {group: _group(f"{place}: {group}", document.get(group, {}), known[group], group) for group in _GROUPS}
    return replace(
        catalogue,
        categories={c.code: _worded_category(c, words["categories"]) for c in catalogue.categories.values()},
        purposes={
            p.code: replace(p, title=words["purposes"].get(p.code, {}).get("title", p.title))
            for p in catalogue.purposes.values()
        },
        durations={
            d.code: replace(d, title=words["durations"].get(d.code, {}).get("title", d.title))
            for d in catalogue.durations.values()
        },
    )


def _worded_category(category: Category, words: Mapping[str, Mapping[str, str]]) -> Category:
    known = words.get(category.code, {})
    title, description = known.get("title", category.title), known.get("description", category.description)
    return replace(category, title=title, description=description)


def _group(place: str, given: object, known: Mapping[str, object], group: str) -> Mapping[str, dict[str, str]]:
    if not isinstance(given, Mapping):
        raise CatalogueError(f"{place}: must map codes to their words")
    found: dict[str, dict[str, str]] = {}
    for code, texts in given.items():
        if code not in known:
            raise CatalogueError(f"{place}.{code}: the catalogue has no such code")
        if not isinstance(texts, Mapping) or not set(texts) <= _GROUPS[group]:
            raise CatalogueError(f"{place}.{code}: must hold nothing but {' and '.join(sorted(_GROUPS[group]))}")
        for name, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise CatalogueError(f"{place}.{code}.{name}: must be a text, found `{text}`")
        found[code] = {name: text.strip() for name, text in texts.items()}
    return found
