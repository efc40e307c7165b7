"""What texts in a resource say about sensitivity, where no Coding says it (decision 43)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from fhir.r4.own_types import OWN_TYPES
from policies.catalogue import Catalogue
from policies.codes import SENSITIVE_WORDS_SYSTEM
from policies.model import Coding

_PROSE: Final = frozenset({"address", "name", "note", "text"})
"""Members in which no words are looked at: names of people and places, what somebody remarked, the narrative."""
_NAME: Final = 256
"""Characters. Names of things are shorter, and come again and again; longer texts are prose."""
_NOTHING: Final[frozenset[Coding]] = frozenset()


class Texts:
    """The words and codes of a catalogue, looked for in texts."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # Providers and places may be called what they treat, and what Assent writes tells what was shared.
        self._wordless = catalogue.named_references | OWN_TYPES
        self._remembered = lru_cache(maxsize=20_000)(self._said)

    def told(self, resource_type: str, name: str, texts: Iterable[str]) -> frozenset[Coding]:
        """What the texts in a top-level member say, as codes. Words count where they name something of a patient."""
        words, found = name not in _PROSE and resource_type not in self._wordless, _NOTHING
        for text in texts:
            if said := self._remembered(text, words) if len(text) <= _NAME else self._said(text, words):
                found |= said
        return found

    def _said(self, text: str, words: bool) -> frozenset[Coding]:
        said = self._catalogue.sensitive_codes.named_in(text)
        if words:
            said |= self._catalogue.sensitive_words.of(text)
        return frozenset(Coding(SENSITIVE_WORDS_SYSTEM, category) for category in said)
