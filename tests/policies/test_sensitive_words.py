"""Words of the catalogue are found whole, folded and in order; a mistake among them names its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policies.catalogue_document import CatalogueError
from policies.sensitive_words import SensitiveWords, read_sensitive_words
from tests.effort import at_most
from tests.policies.consents import CATALOGUE

WORDS = read_sensitive_words(
    {
        "words": {
            "en": {"drugs": ["alcohol*, drug depend*", "iv drug use"], "mind": ["depression, mania"]},
            "es": {"mind": ["depresion, salud mental"]},
        },
        "harmless": {"en": ["alcohol swab*, respiratory depression"]},
    },
    {"drugs", "mind"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alcohol abuse", {"drugs"}),
        ("ALCOHOLISM", {"drugs"}),
        ("alcohol-related", {"drugs"}),
        ("nonalcoholic", set()),
        ("drug dependence", {"drugs"}),
        ("drug  (dependence)", {"drugs"}),
        ("dependence, drug", set()),
        ("drug", set()),
        ("IV drug use", {"drugs"}),
        ("IV drug user", set()),
        ("Depression", {"mind"}),
        ("depressions", set()),
        ("Depresi\u00f3n", {"mind"}),
        ("Depresio\u0301n", {"mind"}),
        ("\uff24epression", {"mind"}),
        ("Salud  mental", {"mind"}),
        ("maniac", set()),
        ("respiratory depression", set()),
        ("respiratory depression and depression", {"mind"}),
        ("alcohol swabs", set()),
        ("alcohol swabs for alcoholics", {"drugs"}),
        ("depression with alcohol abuse", {"drugs", "mind"}),
        ("", set()),
        ("?!", set()),
    ],
)
def test_words_are_found_however_they_are_written(text: str, expected: set[str]) -> None:
    assert WORDS.of(text) == expected


def test_without_words_a_text_says_nothing() -> None:
    assert SensitiveWords().of("alcohol") == set()


def test_the_work_for_a_text_grows_with_its_length_alone() -> None:
    text = "alcohol swab iv drug " * 5_000
    with at_most(200 * len(text.split())):
        assert CATALOGUE.sensitive_words.of(text) == {"substance-use"}


@pytest.mark.parametrize(
    "text",
    [
        *("Alkaline phosphatase", "Hemoglobin A1c", "Haemophilus influenzae", "Family history of diabetes"),
        *("Nirmatrelvir and ritonavir", "Isopropyl alcohol", "Lithium heparin tube", "Bipolar electrocautery"),
        *(
            "Essential hypertension",
            "Laboratory",
            "Visual aids",
            "Sterile dressing",
            "Generic drug",
            "Partial pressure",
        ),
    ],
)
def test_everyday_names_of_things_say_nothing(text: str) -> None:
    assert CATALOGUE.sensitive_words.of(text) == set()


def _document(words: object = None, harmless: object = None) -> Mapping[str, Any]:
    return {"words": words or {"en": {"drugs": ["alcohol*"]}}, "harmless": harmless or {"en": ["alcohol swab"]}}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"words": {}}, "sensitive_words: `harmless` is missing"),
        ({**_document(), "more": 1}, "sensitive_words: `more` is not known here"),
        (
            _document({"en": {"mind": ["mania"]}}),
            "sensitive_words.words.en.mind: there is no sensitive category",
        ),
        (_document({"en": ["alcohol"]}), "sensitive_words.words.en: must be a mapping"),
        (_document({"en": {"drugs": "alcohol"}}), "sensitive_words.words.en.drugs: must be a list of texts"),
        (_document({"en": {"drugs": ["Alcohol"]}}), "sensitive_words.words.en.drugs: `Alcohol` must be words in small"),
        (
            _document({"en": {"drugs": ["adicci\u00f3n"]}}),
            "sensitive_words.words.en.drugs: `adicci\u00f3n` must be words",
        ),
        (_document({"en": {"drugs": ["al*cohol"]}}), "sensitive_words.words.en.drugs: `al*cohol` must be words"),
        (_document({"en": {"drugs": ["al*"]}}), "sensitive_words.words.en.drugs: `al*` must be words"),
        (_document({"en": {"drugs": ["*"]}}), "sensitive_words.words.en.drugs: `*` must be words"),
        (_document({"en": {"drugs": ["alcohol,"]}}), "sensitive_words.words.en.drugs: `` must be words"),
        (_document({"en": {"drugs": ["drug-use"]}}), "sensitive_words.words.en.drugs: `drug-use` must be words"),
        (_document(harmless={"en": ["A"]}), "sensitive_words.harmless.en: `A` must be words"),
    ],
)
def test_a_mistake_among_the_words_names_its_place(document: Mapping[str, Any], error: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_sensitive_words(document, {"drugs"})
    assert str(caught.value).startswith(error)
