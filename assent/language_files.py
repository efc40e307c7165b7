"""Reads the languages that the pages speak: those that come with Assent, and the operator's own.

A language is a gettext catalogue of the pages' texts, `pages.<tag>.po`, in Assent's own folder or in the policy
folder. Beside the catalogue of data categories may stand `words.<tag>.yaml` (its titles in that language) and
`sharing.<tag>.md` (the text that people agree to); without them these stay English.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import yaml
from babel import UnknownLocaleError
from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po

from assent.policy_files import load_policy_text, policy_folder
from assent.read_yaml import read_yaml
from policies.catalogue import Catalogue
from policies.catalogue_document import CatalogueError
from policies.catalogue_words import in_other_words
from portal.languages import ENGLISH, TAG, Language, Languages, language

_LARGEST: Final = 2_000_000
"""Bytes of a catalogue of pages; a file beyond that is another one by mistake."""


def load_languages(catalogue: Catalogue, folder: Path | None = None) -> Languages:
    """Every language, English first, the others by tag. Raises CatalogueError, which names the file."""
    found = policy_folder(folder)
    files = dict(sorted((_files(resources.files("portal") / "messages") | _files(found)).items()))
    english = language(ENGLISH, None, catalogue, load_policy_text(catalogue, folder))
    others = {tag: _language(tag, file, catalogue, found, english) for tag, file in files.items()}
    return Languages({ENGLISH: english, **others})


def _files(folder: Traversable) -> dict[str, Traversable]:
    return {file.name[len("pages.") : -len(".po")]: file for file in _named(folder, "pages.", ".po")}


def _named(folder: Traversable, start: str, end: str) -> Iterator[Traversable]:
    for file in folder.iterdir():
        if file.name.startswith(start) and file.name.endswith(end):
            yield file


def _language(tag: str, file: Traversable, catalogue: Catalogue, folder: Traversable, english: Language) -> Language:
    if TAG.fullmatch(tag) is None or tag == ENGLISH:
        raise CatalogueError(f"`{file.name}`: `{tag}` can't be a language here; write it like `fr` or `pt-BR`")
    words = folder / f"words.{tag}.yaml"
    text = folder / f"sharing.{tag}.md"
    policy = load_policy_text(catalogue, folder, tag) if text.is_file() else english.policy
    try:
        return language(tag, _pages(file), _worded(catalogue, words), policy)
    except UnknownLocaleError as unknown:
        raise CatalogueError(f"`{file.name}`: there is no locale data for `{tag}`") from unknown


def _pages(file: Traversable) -> Catalog:
    try:
        content = file.read_bytes()
        if len(content) > _LARGEST:
            raise CatalogueError(f"`{file.name}` is larger than a catalogue of messages is")
        return read_po(content.decode().splitlines(keepends=True), abort_invalid=True)
    except (OSError, UnicodeDecodeError, PoFileError, ValueError) as broken:
        raise CatalogueError(f"`{file.name}` can't be read as a gettext catalogue: {broken}") from broken


def _worded(catalogue: Catalogue, file: Traversable) -> Catalogue:
    if not file.is_file():
        return catalogue
    try:
        document = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as broken:
        raise CatalogueError(f"`{file.name}` can't be read as YAML: {broken}") from broken
    if not isinstance(document, dict):
        raise CatalogueError(f"`{file.name}` must be a mapping")
    return in_other_words(catalogue, document, place=f"`{file.name}`")
