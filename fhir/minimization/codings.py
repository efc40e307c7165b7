"""What a decoded value says in codings, security labels and literal references, wherever in it they stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from policies.codes import NDC_SYSTEM
from policies.model import Coding
from policies.system_names import CLINICAL_SYSTEMS, usual_system

MAX_DEPTH: Final = 64
"""Deeper JSON than this is no FHIR that anyone writes; such a resource is foreign."""
TEXTS: Final = ("text", "display", "title", "description")
"""Members that name something in words."""
_SAYING: Final = frozenset(
    {"valueString", "valueUri", "valueUrl", "valueCanonical", "valueOid", "valueId", "valueMarkdown"}
)
"""Values of an Extension that may hold a code as they may hold words."""


class Walk:
    """One pass over a decoded member: every coding and every literal reference, at any depth."""

    def __init__(self, bases: tuple[str, ...]) -> None:
        self.codes: set[Coding] = set()
        self.labels: set[Coding] = set()
        self.references: set[str] = set()
        self.texts: set[str] = set()
        """Names of things, as people read them."""
        self.unreadable = False
        """Whether it is too deep, or a code in it is no code, so that not all that it says is known."""
        self.packages = False
        """Whether a code of a medicine's package (NDC) is among them."""
        self._bases = bases

    def visit(self, member: object) -> None:
        level: list[object] = [member]
        for _ in range(MAX_DEPTH):
            deeper: list[object] = []
            for value in level:
                if type(value) is dict:  # decoded JSON has no subclasses
                    if "code" in value or "reference" in value:
                        self.note(value)
                    if "url" in value or "valueString" in value:
                        self._note_said(value)
                    elif "value" in value and type(value["value"]) is str:
                        self._note_identifier(value)
                    if "display" in value or "text" in value or "title" in value or "description" in value:
                        self._note_texts(value)
                    deeper += value.values() if "meta" not in value else self._without_meta(value)
                elif type(value) is list:
                    deeper += value
            if not deeper:
                return
            level = deeper
        self.unreadable = True

    def note(self, value: Mapping[str, object]) -> None:
        code = value.get("code")
        if type(code) is str:
            coding = coding_of(value.get("system"), code)
            self.codes.add(coding)
            if coding.system == NDC_SYSTEM:
                self.packages = True
        elif not is_shaped(code):
            self.unreadable = True
        reference = value.get("reference")
        if type(reference) is str:
            self.references.add(below(self._bases, reference).partition("/_history/")[0])

    def _note_said(self, value: Mapping[str, object]) -> None:
        """The value of an extension or an answer that is a code by itself, or a text."""
        for name, said in value.items():
            if type(said) is str:
                if name in _SAYING:
                    self.texts.add(said)
                elif name == "valueCode":
                    self.codes.add(coding_of(None, said))

    def _note_identifier(self, value: Mapping[str, object]) -> None:
        """A code of a clinical system that is written as an identifier; others name somebody or something."""
        system = coding_of(value.get("system"), "").system
        if system in CLINICAL_SYSTEMS:
            self.codes.add(coding_of(system, str(value["value"])))

    def _note_texts(self, value: Mapping[str, object]) -> None:
        """What a concept, an answer or a title says in words. A reference's `display` has a rule of its own (L32)."""
        if "reference" not in value:
            for name in TEXTS:
                if name in value and type(said := value[name]) is str:
                    self.texts.add(said)

    def _without_meta(self, value: Mapping[str, object]) -> list[object]:
        """A contained resource's own labels count, and its tags as elsewhere; the rest of its `meta` doesn't."""
        meta = value["meta"]
        rest = [item for name, item in value.items() if name != "meta"]
        if not isinstance(meta, dict):
            self.labels.add(Coding("", ""))  # labels may stand in it that can't be read
            return rest
        self.labels.update(labels_in(meta.get("security")))
        return [*rest, meta.get("tag"), meta.get("extension")]


def is_shaped(code: object) -> bool:
    """Whether a member `code` that is no text is what R4 has there: a concept, a list of them, or nothing."""
    if type(code) is list:
        return all(type(item) is dict for item in code)
    return code is None or type(code) is dict


def below(bases: tuple[str, ...], literal: str) -> str:
    """A reference without the base below which it stands. INVARIANT: none of the bases lies below another."""
    if literal.startswith(bases):
        for base in bases:
            if literal.startswith(base):
                return literal[len(base) :]
    return literal


def coding_of(system: object, code: str) -> Coding:
    """A coding with its system under its usual name, so that spelling decides nothing."""
    return _named(system, code) if type(system) is str and len(code) < _SHORT else _unified(system, code)


def _unified(system: object, code: str) -> Coding:
    name = usual_system(system) if isinstance(system, str) else ""
    # A name that is no URI (`SNOMED`, an OID by itself) says nothing certain: as if there were none.
    return Coding(name if ":" in name else "", code.strip())


_SHORT: Final = 64
_named = lru_cache(maxsize=20_000)(_unified)
"""The same codings come in nearly every resource."""


def labels_in(value: object) -> Iterable[Coding]:
    """Security labels; a malformed one is an unknown one, so it is kept and will deny."""
    if value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            code = item.get("code")
            yield coding_of(item.get("system"), code if isinstance(code, str) else "")
        else:
            yield Coding("", "")


def document_labels(concepts: object) -> Iterable[Coding]:
    """`DocumentReference.securityLabel`: labels of the document, which may come along inside."""
    for concept in concepts if isinstance(concepts, list) else ():
        yield from labels_in(concept.get("coding", ()) if isinstance(concept, dict) else concept)
