"""What texts in a resource say about sensitivity, where no Coding says it (decision 43)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from fhir.minimization.codings import coding_of
from fhir.r4.own_types import OWN_TYPES
from policies.catalogue import Catalogue
from policies.codes import ATC_SYSTEM, NDC_SYSTEM, RXNORM_SYSTEM, SENSITIVE_WORDS_SYSTEM, SNOMED_SYSTEM
from policies.model import Coding

_PROSE: Final = frozenset({"address", "name", "note", "text"})
"""Members in which no words are looked at: names of people and places, what somebody remarked, the narrative."""
_NAME: Final = 256
"""Characters. Names of things are shorter, and come again and again; longer texts are prose."""
_LONGEST: Final = 16_384
"""Characters of one text that are looked at: some milliseconds."""
_MEDICINES: Final = frozenset({ATC_SYSTEM, RXNORM_SYSTEM})
_READ: Final = frozenset({*_MEDICINES, SNOMED_SYSTEM})
"""Systems in which codes of medicines are known."""
_NOTHING: Final[frozenset[Coding]] = frozenset()


class Texts:
    """The words and codes of a catalogue, looked for in texts."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # Providers and places may be called what they treat, and what Assent writes tells what was shared.
        self._wordless = catalogue.named_references | OWN_TYPES
        medicines = {s.sensitivity for s in catalogue.code_sets if s.system in _MEDICINES}
        packages = any(s.system == NDC_SYSTEM for s in catalogue.code_sets)
        self._any_medicine = _NOTHING if packages else frozenset(Coding(SENSITIVE_WORDS_SYSTEM, c) for c in medicines)
        self._remembered = lru_cache(maxsize=20_000)(self._said)

    def told(self, resource_type: str, name: str, texts: Iterable[str]) -> frozenset[Coding]:
        """What the texts in a top-level member say, as codes. Words count where they name something of a patient.

        Long prose isn't looked at: neither a word nor a number in it is what the resource is about.
        """
        words, found = name not in _PROSE and resource_type not in self._wordless, _NOTHING
        for text in texts:
            if len(text) <= _NAME:
                found |= self._remembered(text, words)
            elif words:
                found |= self._said(text, words)
        return found

    def of_packages(self, value: object) -> frozenset[Coding]:
        """What a member says in which a package of a medicine is named by its number alone: it may be any medicine."""
        return self._any_medicine if self._any_medicine and _is_unread(value) else _NOTHING

    def _said(self, text: str, words: bool) -> frozenset[Coding]:
        text = text[:_LONGEST]
        said = self._catalogue.sensitive_codes.named_in(text)
        if words:
            said |= self._catalogue.sensitive_words.of(text)
        return frozenset(Coding(SENSITIVE_WORDS_SYSTEM, category) for category in said)


def _is_unread(value: object) -> bool:
    """Whether a concept in it names a package (NDC), and has neither a code that is known nor a name."""
    edge = [value]
    while edge:
        here = edge.pop()
        if isinstance(here, dict):
            codings = here.get("coding")
            found = [c for c in codings if isinstance(c, dict)] if isinstance(codings, list) else []
            systems = {coding_of(c.get("system"), "").system for c in found}
            if NDC_SYSTEM in systems and systems.isdisjoint(_READ) and not _is_named(here, found):
                return True
            edge += here.values()
        elif isinstance(here, list):
            edge += here
    return False


def _is_named(concept: Mapping[str, object], codings: Iterable[Mapping[str, object]]) -> bool:
    names = concept.get("text"), *(coding.get("display") for coding in codings)
    return any(isinstance(name, str) and name.strip() for name in names)
