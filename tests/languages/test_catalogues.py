"""The catalogues hold what the pages say, all of it, and nothing that breaks a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message

from assent.language_files import load_languages
from assent.policy_files import load_catalogue, policy_folder
from policies.catalogue_document import CatalogueError
from tests.languages.catalogue import TEMPLATE, extracted, translated, written

CATALOGUE = load_catalogue()
SHIPPED = list(translated())
PLACES = re.compile(r"%\((\w+)\)s")
TAGS = re.compile(r"</?\w+[^>]*>")
RENEW = "run `python -m tests.languages.catalogue`, and translate what is new"


def _forms(message: Message) -> list[tuple[str, str]]:
    """Each English form with its translations."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    return [(message.id[1], translation) for translation in message.string or ()]


def test_spanish_comes_with_assent() -> None:
    assert [file.name for file, _ in SHIPPED] == ["pages.es.po"]


def test_the_template_is_not_stale() -> None:
    assert TEMPLATE.read_bytes() == written(extracted()), RENEW


@pytest.mark.parametrize(("file", "catalogue"), SHIPPED, ids=lambda given: getattr(given, "name", ""))
def test_a_catalogue_translates_every_message_and_no_other(file: Path, catalogue: Catalog) -> None:
    there = {message.id for message in catalogue if message.id}
    wanted = {message.id for message in extracted() if message.id}
    assert (wanted - there, there - wanted) == (set(), set()), RENEW
    untranslated = [m.id for m in catalogue if m.id and not all(text for _, text in _forms(m))]
    assert (untranslated, [m.id for m in catalogue if m.id and m.fuzzy]) == ([], []), file.name


@pytest.mark.parametrize(("file", "catalogue"), SHIPPED, ids=lambda given: getattr(given, "name", ""))
def test_a_translation_has_the_places_and_the_markup_of_its_message(file: Path, catalogue: Catalog) -> None:
    for message in catalogue:
        for english, text in _forms(message) if message.id else ():
            assert set(PLACES.findall(text)) == set(PLACES.findall(english)), text
            assert sorted(TAGS.findall(text)) == sorted(TAGS.findall(english)), text


def test_every_title_purpose_duration_and_the_text_are_in_spanish() -> None:
    spanish = load_languages(CATALOGUE).by_tag["es"]
    for code, category in CATALOGUE.categories.items():
        there = spanish.catalogue.categories[code]
        assert there.title != category.title, code
        assert there.description != category.description, code
        assert there.scopes == category.scopes
    assert all(p.title != spanish.catalogue.purposes[code].title for code, p in CATALOGUE.purposes.items())
    assert all(d.title != spanish.catalogue.durations[code].title for code, d in CATALOGUE.durations.items())
    assert (spanish.policy.language, spanish.policy.version) == ("es", CATALOGUE.version)


def _own(folder: Path, **files: str) -> Path:
    for file in policy_folder().iterdir():
        if file.is_file() and not file.name.endswith(".py"):
            (folder / file.name).write_bytes(file.read_bytes())
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_an_operator_adds_a_language_by_a_file_and_what_it_lacks_stays_english(tmp_path: Path) -> None:
    folder = _own(
        tmp_path,
        pages__fr__po='msgid "Allow"\nmsgstr "Autoriser"\n',
        words__fr__yaml="categories: {laboratory: {title: Analyses}}",
    )
    spoken = load_languages(CATALOGUE, folder)
    french = spoken.by_tag["fr"]
    assert (list(spoken.by_tag), french.name) == (["en", "es", "fr"], "Français")
    assert (french.gettext("Allow"), french.gettext("Deny")) == ("Autoriser", "Deny")
    titles = french.catalogue.categories
    assert (titles["laboratory"].title, titles["conditions"].title) == ("Analyses", "Conditions")
    assert french.policy == spoken.english.policy


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"pages__en__po": ""}, "`en` can't be a language here"),
        ({"pages__FR__po": ""}, "`FR` can't be a language here"),
        ({"pages__qqq__po": ""}, "there is no locale data for `qqq`"),
        ({"pages__fr__po": "msgid broken"}, "can't be read as a gettext catalogue"),
        ({"pages__fr__po": "", "words__fr__yaml": "categories: {gone: {title: Gone}}"}, "has no such code"),
        ({"pages__fr__po": "", "words__fr__yaml": "categories: {hiv: {title: ''}}"}, "must be a text"),
        ({"pages__fr__po": "", "words__fr__yaml": "masks: {}"}, "`masks` is not known here"),
        ({"pages__fr__po": "", "words__fr__yaml": "- 1"}, "must be a mapping"),
        ({"pages__fr__po": "", "words__fr__yaml": "a: ["}, "can't be read as YAML"),
    ],
)
def test_a_file_that_is_not_right_stops_the_start_and_is_named(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    with pytest.raises(CatalogueError, match=re.escape(says)):
        load_languages(CATALOGUE, _own(tmp_path, **files))
