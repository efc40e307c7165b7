"""Compiles a mask (allow-list of element paths) for one resource type into a tree that the minimizer follows.

Allow-lists name elements by FHIR path below the type: `name`, `name.family`, `value[x]`. What the list doesn't name
is removed. An element that R4 requires (min 1) and the list doesn't name is replaced by the data-absent-reason
extension with code `masked`, so that what comes out is valid R4 (docs/masks.md). Under a profile that keeps elements
whole, what is named stays with all that stands in it; under any other it is taken apart, down to the last member, so
that what R4 doesn't have there goes, and extensions unless they are listed. Compiled once per (profile, type).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import msgspec

from fhir.r4.definitions import Definitions, Element, json_members
from fhir.r4.narrative import XHTML
from fhir.r4.own_types import OWN_TYPES
from policies.codes import DATA_ABSENT_REASON_URL

_MASKED: Final = f'{{"extension":[{{"url":"{DATA_ABSENT_REASON_URL}","valueCode":"masked"}}]}}'.encode()
_NARRATIVE: Final = {
    "status": "generated",
    "div": f'<div xmlns="{XHTML}"><p>What this care plan holds stands in its elements.</p></div>',
}
_STAND_INS: Final[Mapping[str, Mapping[str, bytes]]] = {"CarePlan": {"text": msgspec.json.encode(_NARRATIVE)}}
"""US Core, us-core-careplan: `text` is required (3.1.1 to 6.1). It says nothing that hangs on the record."""


@dataclass(frozen=True, slots=True, eq=False)
class Extensions:
    """Extensions of which only those with these URLs stay (docs/leaks.md L33)."""

    urls: frozenset[str]
    inside: MaskNode | None = None
    """The members of one that stays; None for all."""
    are_parts: bool = False
    """Whether they stand in an extension that stays, and so those of its own definition (`ombCategory`) stay too."""

    def allow(self, url: str) -> bool:
        """Whether an extension stays."""
        return url in self.urls or (self.are_parts and url != "" and ":" not in url)


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What stands beside a primitive, under its name with `_`: of it, these extensions stay."""

    extensions: Extensions


Treatment = Literal["keep", "own", "plain", "reference", "contained", "meta", "refused"] | Extensions | Beside
"""What to do with a member: see `fhir.minimization.minimize`.

`keep` is for objects and lists of them, `plain` for strings, numbers and booleans and lists of them.
"""

_NO_EXTENSIONS: Final = Extensions(frozenset())
_PART: Final[Mapping[str, Treatment]] = {"id": "plain", "modifierExtension": "refused"}
"""An element of which parts are taken away: what changes the meaning of the rest must not go with them."""
_EXTENSION_VALUES: Final = frozenset(
    {
        "Age",
        "CodeableConcept",
        "Coding",
        "Count",
        "Distance",
        "Duration",
        "Money",
        "Period",
        "Quantity",
        "Range",
        "Ratio",
    }
)
"""Types, beside the primitive ones, whose values stay in an extension where elements are taken apart: nobody's name."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskNode:
    """The members of one object, each with a treatment or the node of its inside; others go, or stay if open."""

    members: Mapping[str, MaskNode | Treatment]
    open: bool = False
    """True inside a kept element: members not named stay, whatever they are."""
    replacements: Mapping[str, bytes] = field(default_factory=dict)
    """Required elements that are masked: member name -> the JSON that stands for them."""
    stand_ins: Mapping[str, bytes] = field(default_factory=dict)
    """Members that go, but that a profile requires: name -> the JSON in place of one that was there."""


class MaskError(ValueError):
    """An allow-list names what R4 doesn't have; the message names it."""


class MaskCompiler:
    """Compiles the allow-lists of one profile against the R4 definitions."""

    def __init__(
        self, definitions: Definitions, extensions: frozenset[str] = frozenset(), *, whole: bool = False
    ) -> None:
        """`extensions`: URLs of those that may stay. `whole`: elements that a list names stay with all inside them."""
        self._definitions = definitions
        self._whole = whole
        self._inside: dict[tuple[str, str], MaskNode | Treatment] = {}
        inside: dict[str, MaskNode | Treatment] = {"url": "plain"}
        listed, node = extensions | {DATA_ABSENT_REASON_URL}, MaskNode(inside)
        self._own = Extensions(extensions, None if whole else node)
        self._nested = Extensions(listed, node)
        inside["extension"] = Extensions(listed, node, are_parts=True)
        values = definitions.children("Extension")["value[x]"]
        kinds = tuple(kind for kind in values.types if kind in definitions.primitives | _EXTENSION_VALUES)
        self._add(inside, "value[x]", replace(values, types=kinds), ("Extension", ""))

    def compile(self, resource_type: str, allowed: frozenset[str]) -> MaskNode:
        """The tree for one resource type. Raises MaskError."""
        members: dict[str, MaskNode | Treatment] = {
            "resourceType": "plain",
            "id": "plain",
            "language": "plain",
            "meta": "meta",
            "extension": self._own,
            "contained": "contained",
        }
        node = replace(self._node(resource_type, "", allowed, members), stand_ins=_STAND_INS.get(resource_type, {}))
        if node.replacements and "subject" in node.replacements:
            raise MaskError(f"{resource_type}: `subject` must not be masked, or the answer says of nobody")
        return node

    def _node(
        self, resource_type: str, path: str, allowed: frozenset[str], members: dict[str, MaskNode | Treatment]
    ) -> MaskNode:
        elements = self._definitions.children(resource_type, path)
        self._check_names(resource_type, elements, allowed)
        replacements: dict[str, bytes] = {}
        for name, element in elements.items():
            deeper = frozenset(a.split(".", 1)[1] for a in allowed if a.startswith(name + "."))
            if name in allowed:
                self._add(members, name, element, (resource_type, path))
            elif deeper:
                members[name] = self._node(resource_type, _join(path, name), deeper, {**_PART})
            elif element.min > 0:
                replacements.update(self._replacement(resource_type, path, name, element))
        return MaskNode(members, replacements=replacements)

    def _check_names(self, resource_type: str, elements: Mapping[str, Element], allowed: frozenset[str]) -> None:
        for entry in allowed:
            if entry.split(".", 1)[0] not in elements:
                raise MaskError(f"{resource_type}: R4 has no element `{entry}` here")

    def _kept(self, resource_type: str, path: str, type_name: str) -> MaskNode | Treatment:
        """A kept element: raw, unless it is taken apart or references stand inside it that may name people."""
        if type_name in self._definitions.primitives:
            return "plain"
        if resource_type in OWN_TYPES:
            return "own"  # its references name apps and requests by identifier, and that is what they are for
        if type_name == "Reference":
            return "reference"
        place = (resource_type, path) if type_name in ("BackboneElement", "Element") else (type_name, "")
        return self._references_inside(*place) if self._whole else self._parts(*place)

    def _parts(self, type_name: str, path: str) -> MaskNode:
        """All that R4 has below a place, each in its turn; extensions only as they are listed."""
        place = self._definitions.locate(type_name, path)
        known = self._inside.get(place)
        if isinstance(known, MaskNode):
            return known
        members: dict[str, MaskNode | Treatment] = {"extension": self._nested, "modifierExtension": "refused"}
        # Before going in, as in `_references_inside`.
        self._inside[place] = node = MaskNode(members)
        for name, element in self._definitions.children(*place).items():
            if name not in ("id", "extension", "modifierExtension"):
                self._add(members, name, element, place)
        return node

    def _add(
        self, members: dict[str, MaskNode | Treatment], name: str, element: Element, place: tuple[str, str]
    ) -> None:
        """The members of an element that is kept; `place` is where it stands."""
        for member, type_name in json_members(name, element):
            members[member] = self._kept(place[0], _join(place[1], name), type_name)
            if type_name in self._definitions.primitives:
                members["_" + member] = "keep" if self._whole else Beside(self._nested)

    def _references_inside(self, type_name: str, path: str) -> MaskNode | Treatment:
        place = self._definitions.locate(type_name, path)
        known = self._inside.get(place)
        if known is not None:
            return known
        members: dict[str, MaskNode | Treatment] = {}
        # Before going in, so that an element within itself (`item.item`, Identifier.assigner) finds its own node.
        self._inside[place] = node = MaskNode(members, open=True)
        for name, element in self._definitions.children(*place).items():
            for member, child_type in json_members(name, element):
                inside = (
                    "keep" if child_type == "Extension" else self._kept(place[0], _join(place[1], name), child_type)
                )
                if inside not in ("keep", "plain"):
                    members[member] = inside
        if not members:
            self._inside[place] = "keep"
        return self._inside[place] if not members else node

    def _replacement(self, resource_type: str, path: str, name: str, element: Element) -> Mapping[str, bytes]:
        """What stands for a required element that is masked: FHIR R4 extension data-absent-reason."""
        many = element.max != "1"
        member, type_name = json_members(name, element)[0]
        if type_name in self._definitions.primitives:
            # FHIR R4 JSON: a primitive without a value keeps its extension under the underscored name.
            return {"_" + member: b"[" + _MASKED + b"]" if many else _MASKED}
        inside = self._masked_object(resource_type, _join(path, name), type_name)
        return {member: b"[" + inside + b"]" if many else inside}

    def _masked_object(self, resource_type: str, path: str, type_name: str) -> bytes:
        """A complex element holds the extension, and its own required children likewise."""
        if type_name not in ("BackboneElement", "Element"):
            return _MASKED
        parts = [_MASKED[1:-1]]
        for name, element in self._definitions.children(resource_type, path).items():
            if element.min > 0:
                for member, value in self._replacement(resource_type, path, name, element).items():
                    parts.append(f'"{member}":'.encode() + value)
        return b"{" + b",".join(parts) + b"}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
