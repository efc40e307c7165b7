"""What words say about sensitivity, where no code does: a net below the code sets (decision 43).

Words are compared without case and accents, whole or by their beginning, and one after the other; there are no
regular expressions in the catalogue. The time grows with the length of a text alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final
from unicodedata import combining, normalize

from policies.catalogue_document import CatalogueError, check_keys, mapping_at, strings_at

_WORD: Final = re.compile(r"[^\W_]+")
_SAID: Final = re.compile(r"([^\W_]+|[^\W_]{3,}\*)( ([^\W_]+|[^\W_]{3,}\*))*")
_OPENING: Final = 3
"""Letters by which most words are passed over; a beginning has at least as many."""
_NOTHING: Final[frozenset[str]] = frozenset()

Phrase = tuple[str, ...]
"""Words one after the other, folded; one that ends in `*` stands for all that begin so."""


class SensitiveWords:
    """The words of a catalogue, by the sensitive category that each speaks of."""

    def __init__(self, phrases: Mapping[Phrase, frozenset[str]] | None = None, harmless: Iterable[Phrase] = ()) -> None:
        self.count: Final = len(phrases or {})
        """How many words and phrases there are."""
        self._phrases = _Phrases(phrases or {})
        self._harmless = _Phrases(dict.fromkeys(harmless, _NOTHING))

    def of(self, text: str) -> frozenset[str]:
        """Codes of the sensitive categories that a text speaks of."""
        words = _WORD.findall(_folded(text))
        found = list(self._phrases.found_in(words))
        if not found:
            return _NOTHING
        covered = {at for start, end, _ in self._harmless.found_in(words) for at in range(start, end)}
        return _NOTHING.union(*(said for start, end, said in found if not covered.issuperset(range(start, end))))


class _Phrases:
    """Phrases by their first word, or by its beginning."""

    def __init__(self, phrases: Mapping[Phrase, frozenset[str]]) -> None:
        self._whole: dict[str, list[tuple[Phrase, frozenset[str]]]] = {}
        self._begin: dict[str, list[tuple[Phrase, frozenset[str]]]] = {}
        for (first, *rest), said in phrases.items():
            known = self._begin if first.endswith("*") else self._whole
            known.setdefault(first.removesuffix("*"), []).append((tuple(rest), said))
        self._lengths = sorted({len(beginning) for beginning in self._begin})
        self._openings = {first[:_OPENING] for first in (*self._whole, *self._begin)}

    def found_in(self, words: Sequence[str]) -> Iterable[tuple[int, int, frozenset[str]]]:
        """Where a phrase stands (from, to), and what it says."""
        for start, word in enumerate(words):
            if word[:_OPENING] not in self._openings:
                continue
            candidates = list(self._whole.get(word, ()))
            for length in self._lengths:
                candidates += self._begin.get(word[:length], ())
            for rest, said in candidates:
                end = start + 1 + len(rest)
                if end <= len(words) and all(map(_is, rest, words[start + 1 : end])):
                    yield start, end, said


def read_sensitive_words(document: Mapping[str, object], sensitivities: Collection[str]) -> SensitiveWords:
    """`words` by language and category, `harmless` by language; a text holds phrases with commas between them.

    Raises CatalogueError.
    """
    check_keys("sensitive_words", document, {"words", "harmless"})
    phrases: dict[Phrase, frozenset[str]] = {}
    for language, categories in mapping_at("sensitive_words.words", document["words"]).items():
        for code, lines in mapping_at(f"sensitive_words.words.{language}", categories).items():
            place = f"sensitive_words.words.{language}.{code}"
            if code not in sensitivities:
                raise CatalogueError(f"{place}: there is no sensitive category `{code}`")
            for phrase in _phrases(place, lines):
                phrases[phrase] = phrases.get(phrase, _NOTHING) | {code}
    harmless = [
        phrase
        for language, lines in mapping_at("sensitive_words.harmless", document["harmless"]).items()
        for phrase in _phrases(f"sensitive_words.harmless.{language}", lines)
    ]
    return SensitiveWords(phrases, harmless)


def _phrases(place: str, lines: object) -> Iterable[Phrase]:
    for line in strings_at(place, lines):
        for said in line.split(","):
            said = said.strip()
            if not _SAID.fullmatch(said) or said != _folded(said):
                raise CatalogueError(
                    f"{place}: `{said}` must be words in small letters without accents; a beginning has three or more"
                )
            yield tuple(said.split(" "))


def _is(wanted: str, word: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


def _folded(text: str) -> str:
    """Without case, accents and wide letters."""
    if text.isascii():
        return text.lower()
    return "".join(letter for letter in normalize("NFKD", text.casefold()) if not combining(letter))
