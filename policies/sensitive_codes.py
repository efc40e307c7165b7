"""What a clinical code says about sensitivity: a look-up in the catalogue's code sets, the same time however many.

Codes are found as systems in use write them: ICD codes with or without their dot, in either case; SNOMED CT
expressions by every concept in them; countries' editions of ICD-10; codes without a system as any system's. In a
system that no set knows only a code counts that can hardly be anything else: a hospital's own system often holds
codes of SNOMED CT, LOINC, ICD or ATC as they are.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, TypeVar

from policies.code_sets import CodeSet
from policies.codes import (
    ACT_CODE_SYSTEM,
    ATC_SYSTEM,
    CPT_SYSTEM,
    ICD_10_CM_SYSTEM,
    ICD_10_PCS_SYSTEM,
    ICD_10_SYSTEM,
    ICD_11_SYSTEM,
    ICPC_2_SYSTEM,
    LOINC_SYSTEM,
    MS_DRG_SYSTEM,
    PLACE_OF_SERVICE_SYSTEM,
    PROVIDER_TAXONOMY_SYSTEM,
    REVENUE_SYSTEM,
    SERVICE_CATEGORY_SYSTEM,
    SERVICE_TYPE_SYSTEM,
    SNOMED_SYSTEM,
)
from policies.model import Coding
from policies.system_names import NATIONAL_EDITIONS

_NOTHING: Final[frozenset[str]] = frozenset()
_NEVER_BARE: Final = frozenset(
    {
        *(ACT_CODE_SYSTEM, CPT_SYSTEM, ICD_10_PCS_SYSTEM, ICD_11_SYSTEM, ICPC_2_SYSTEM, MS_DRG_SYSTEM),
        *(PLACE_OF_SERVICE_SYSTEM, REVENUE_SYSTEM, SERVICE_CATEGORY_SYSTEM, SERVICE_TYPE_SYSTEM),
        PROVIDER_TAXONOMY_SYSTEM,
    }
)
"""Systems whose codes are so short that they mean something else in others: without a system they say nothing."""
_SHORT: Final = 3
"""Characters. So short a code without a system may be anybody's."""
_CONCEPT: Final = re.compile(r"(?<!\d)\d{6,18}(?!\d)")
_LONGEST: Final = 4_096
"""Longer codes aren't looked into; nobody writes such an expression."""
_Key = TypeVar("_Key", bound=Hashable)
_BEGINS_WITH_LETTER: Final = re.compile(r"[A-Z]\d")
_OWN_SHAPE: Final = (
    (re.compile(r"\d{6,18}"), (SNOMED_SYSTEM,)),
    (re.compile(r"(?![12]\d{3}-)\d{1,7}-\d"), (LOINC_SYSTEM,)),
    (re.compile(r"[A-Z]\d[0-9A-Z]\.[0-9A-Z]{1,4}"), (ICD_10_CM_SYSTEM, ICD_10_SYSTEM)),
    (re.compile(r"[A-Z]\d\d[A-Z]{2}\d\d"), (ATC_SYSTEM,)),
)
"""How codes look that say by themselves whose they are. SNOMED CT's and LOINC's have a check digit besides, so that
of other numbers hardly any is one; ICD's have their dot. The codes of race and ethnicity (CDC, HL7 v3) look like those
of LOINC and are numbers from 1000 to 2999: `2106-3` is White there, and a pregnancy test in LOINC."""
_LONGEST_SHAPE: Final = 18
"""Characters of the longest of them, an identifier of SNOMED CT."""


class SensitiveCodes:
    """All code sets of a catalogue, by system and code; and its security labels, which may stand at single elements."""

    def __init__(self, sets: Iterable[CodeSet], labels: Iterable[tuple[Coding, str]] = ()) -> None:
        sets, labels = tuple(sets), tuple(labels)
        self._systems = {s.system for s in sets} | {label.system for label, _ in labels}
        self._blocks = {
            system: _Blocks([s for s in sets if s.system == system])
            for system in {s.system for s in sets if any(code.endswith("*") for code in s.codes)}
        }
        for edition, system in NATIONAL_EDITIONS.items():
            if system in self._blocks:
                self._blocks.setdefault(edition, self._blocks[system])
        self._bare_blocks = [blocks for system, blocks in self._blocks.items() if system not in _NEVER_BARE]
        exact = [(s, code) for s in sets if s.system not in self._blocks for code in s.codes]
        self._exact = _gather([*((Coding(s.system, code), s.sensitivity) for s, code in exact), *labels])
        self._bare = _gather(
            (code, s.sensitivity) for s, code in exact if s.system not in _NEVER_BARE and len(code) > _SHORT
        )

    def of(self, coding: Coding) -> frozenset[str]:
        """Codes of the sensitive categories that a coding, its system under its usual name, belongs to."""
        system, code = coding
        found = self._exact.get(coding)
        if found is not None:
            return found
        blocks = self._blocks.get(system)
        if blocks is not None:
            return blocks.of(_folded(code))
        if not system:
            return self._of_any_system(code)
        upper = code.upper()
        if upper != code and (found := self._exact.get(Coding(system, upper))) is not None:
            return found
        if system == SNOMED_SYSTEM and not code.isdigit():
            return self._of_expression(code)
        return _NOTHING if system in self._systems else self._of_own_shape(code.upper())

    def named_in(self, text: str) -> frozenset[str]:
        """What the codes in a text say: one that is all of it, and every SNOMED CT concept."""
        return self._of_own_shape(text.strip().upper()) | self._of_expression(text)

    def _of_own_shape(self, code: str) -> frozenset[str]:
        """What a code in a system that isn't known says, if it is written as only one of the known ones is."""
        if len(code) > _LONGEST_SHAPE:
            return _NOTHING
        systems = (system for shape, systems in _OWN_SHAPE if shape.fullmatch(code) for system in systems)
        return _NOTHING.union(*(self.of(Coding(system, code)) for system in systems if system in self._systems))

    def _of_expression(self, code: str) -> frozenset[str]:
        """SNOMED CT compositional grammar: what any concept in it says."""
        concepts = _CONCEPT.findall(code) if len(code) <= _LONGEST else []
        return _NOTHING.union(*(self._exact.get(Coding(SNOMED_SYSTEM, concept), _NOTHING) for concept in concepts))

    def _of_any_system(self, code: str) -> frozenset[str]:
        found = self._bare.get(code, _NOTHING)
        if not code.isdigit():
            found |= self._of_expression(code)
        folded = _folded(code)
        if _BEGINS_WITH_LETTER.match(folded):  # a block of bare digits would take in any number
            found = found.union(*(blocks.of(folded) for blocks in self._bare_blocks))
        return found


class _Blocks:
    """The codes of a system that has blocks of codes."""

    def __init__(self, sets: Iterable[CodeSet]) -> None:
        codes = [(s, code) for s in sets for code in s.codes]
        self._exact = _gather((_folded(code), s.sensitivity) for s, code in codes if not code.endswith("*"))
        self._begin = _gather((_folded(code[:-1]), s.sensitivity) for s, code in codes if code.endswith("*"))
        self._lengths = sorted({len(beginning) for beginning in self._begin})

    def of(self, code: str) -> frozenset[str]:
        found = self._exact.get(code, _NOTHING)
        for length in self._lengths:
            block = self._begin.get(code[:length])
            if block is not None:
                found |= block
        return found


def _folded(code: str) -> str:
    """Claims leave the dot of ICD codes out, and case means nothing in them."""
    return code.upper().replace(".", "")


def _gather(pairs: Iterable[tuple[_Key, str]]) -> Mapping[_Key, frozenset[str]]:
    found: dict[_Key, frozenset[str]] = {}
    shared: dict[frozenset[str], frozenset[str]] = {}
    for key, sensitivity in pairs:
        together = found.get(key, _NOTHING) | {sensitivity}
        found[key] = shared.setdefault(together, together)
    return found
