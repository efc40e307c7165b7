"""The paths of FHIRPath Patch: those whose elements can be pointed at by reading the resource once.

A path starts with the resource type and goes on with names, indexes and `where(name = 'text')`, as in
`Consent.provision.provision[0].type`. Choices have their FHIRPath names (`source`, not `sourceReference`). Whatever
else FHIRPath has (functions, operators, `resolve()`) is refused by name (docs/decisions/0029-consent-formats.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fhir.r4.definitions import Definitions, Element, json_members

MAX_PATH: Final = 1_000
"""Characters of a path."""
MAX_STEPS: Final = 40
MAX_PLACES: Final = 2_000
"""Elements that a path may come upon on its way."""
_TEXTS: Final = frozenset({"string", "code", "uri", "url", "canonical", "id", "oid", "uuid", "markdown"})
_WHERE: Final = r"\.where\( *(?P<key>[A-Za-z]\w{0,63}) *= *'(?P<text>[^'\\]*)' *\)"
_STEP: Final = re.compile(rf"{_WHERE}|\.(?P<name>[A-Za-z]\w{{0,63}})(?![\w(])|\[(?P<index>\d{{1,6}})\]", re.ASCII)
_FUNCTION: Final = re.compile(r"\.?([A-Za-z]\w{0,63})\(", re.ASCII)
_TAKEN: Final = "a path takes names, `[n]` and `where(name = 'text')`"


class PathRefused(ValueError):
    """A path isn't taken or doesn't fit: FHIR issue code, a text that quotes no value."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class Named:
    """The children of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Indexed:
    """The one at that place, counted over the whole collection from 0."""

    index: int


@dataclass(frozen=True, slots=True)
class Where:
    """Those of which a child equals a text."""

    name: str
    text: str


Step = Named | Indexed | Where


@dataclass(frozen=True, slots=True)
class Place:
    """One element of a resource, and the object that holds it."""

    holder: dict[str, Any]
    member: str
    index: int | None
    """None where the element can't repeat."""
    path: str
    """Where it is defined: below the resource type, choices narrowed (`extension.valueCode`). Empty: the resource."""
    up: Place | None = None

    @property
    def value(self) -> Any:
        """The JSON value."""
        found = self.holder[self.member]
        return found if self.index is None else found[self.index]


def read_path(text: str, kind: str) -> tuple[Step, ...]:
    """The steps of a path below a resource of type `kind`. Raises PathRefused."""
    if len(text) > MAX_PATH:
        raise PathRefused("too-long", f"a path may have at most {MAX_PATH} characters")
    if re.match(rf"{kind}(?!\w)", text, re.ASCII) is None:
        raise PathRefused("processing", f"a path starts with `{kind}`, the type of the resource")
    steps: list[Step] = []
    at = len(kind)
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            function = _FUNCTION.match(text, at)
            told = f"`{function[1]}()` isn't taken so here; " if function is not None else ""
            raise PathRefused("not-supported", f"{told}{_TAKEN}")
        steps.append(_step(found))
        at = found.end()
    if len(steps) > MAX_STEPS:
        raise PathRefused("too-costly", f"a path may have at most {MAX_STEPS} steps")
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["name"] is not None:
        return Named(found["name"])
    return Indexed(int(found["index"])) if found["index"] is not None else Where(found["key"], found["text"])


@dataclass(frozen=True, slots=True)
class PathWalk:
    """Walks paths in resources of one type."""

    definitions: Definitions
    kind: str

    def places(self, content: dict[str, Any], steps: tuple[Step, ...]) -> list[Place]:
        """The elements that a path leads to, in order. Raises PathRefused."""
        found = [Place({self.kind: content}, self.kind, None, "")]
        for step in steps:
            match step:
                case Named(name):
                    found = [child for place in found for child in self._children(place, name)]
                case Indexed(index):
                    found = found[index : index + 1]
                case Where(name, text):
                    found = [place for place in found if self._equals(place, name, text)]
            if len(found) > MAX_PLACES:
                raise PathRefused("too-costly", f"a path may come upon {MAX_PLACES} elements")
        return found

    def only(self, content: dict[str, Any], steps: tuple[Step, ...]) -> Place:
        """The one element that a path leads to. Raises PathRefused when it is none or several."""
        found = self.places(content, steps)
        if len(found) != 1:
            text = "nothing stands at the path" if not found else "the path leads to several elements, it must be one"
            raise PathRefused("processing", text)
        return found[0]

    def element(self, path: str, name: str) -> tuple[str, Element]:
        """The element `name` below a path, and its name in FHIR spelling (`value[x]`). Raises PathRefused."""
        children = self.definitions.children(self.kind, path)
        for spelt in (name, f"{name}[x]"):
            if spelt in children:
                return spelt, children[spelt]
        raise PathRefused("processing", "R4 has no element of that name there")

    def _children(self, place: Place, name: str) -> Iterator[Place]:
        spelt, element = self.element(place.path, name)
        value = place.value
        for member, _ in json_members(spelt, element):
            if isinstance(value, dict) and member in value:
                path = below(place.path, member)
                if element.max == "1":
                    yield Place(value, member, None, path, place)
                elif isinstance(value[member], list):
                    yield from (Place(value, member, i, path, place) for i in range(len(value[member])))

    def _equals(self, place: Place, name: str, text: str) -> bool:
        spelt, element = self.element(place.path, name)
        if element.max != "1" or not _TEXTS.issuperset(element.types) or spelt != name:
            raise PathRefused("not-supported", "`where` compares an element that is a text and can't repeat")
        return isinstance(place.value, dict) and place.value.get(name) == text


def below(path: str, member: str) -> str:
    """The path of a child."""
    return f"{path}.{member}" if path else member
