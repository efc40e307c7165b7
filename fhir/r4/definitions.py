"""What FHIR R4 itself defines: types and their elements, search parameters, compartments.

The content comes from HL7's package hl7.fhir.r4.core 4.0.1 by way of `fhir/r4/data/generate.py`. Loading keeps the
undecoded JSON; a type or its search parameters are decoded when first asked for, so that start-up is quick and what
nobody asks about costs no memory.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal

import msgspec

TypeKind = Literal["resource", "complex-type", "primitive-type"]
SearchKind = Literal["token", "reference", "date", "string", "number", "quantity", "uri", "composite", "special"]


@dataclass(frozen=True, slots=True)
class Element:
    """One ElementDefinition of a type's snapshot."""

    path: str
    """Below the type, in FHIR spelling: `contact.name`, `value[x]`."""
    types: tuple[str, ...] = ()
    """Type codes; several for a choice. A content reference has the type of the element that it points to."""
    min: int = 0
    max: str = "1"
    summary: bool = False
    targets: tuple[str, ...] = ()
    """Resource types that a Reference here may point to; `Resource` for any."""
    content: str = ""
    """For a content reference: path, in the same type, of the element whose children this one has."""


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A resource type or datatype with every element of its snapshot except those inside datatypes."""

    name: str
    kind: TypeKind
    abstract: bool
    base: str
    """Name of the type that this one specializes, for example `DomainResource`; empty for the roots."""
    elements: Mapping[str, Element]


@dataclass(frozen=True, slots=True)
class SearchPath:
    """One alternative of an official search expression, for one base type, as a walk down the JSON."""

    steps: tuple[str, ...]
    """JSON property names from the resource down; choices are spelled out: `("valueQuantity",)`."""
    type: str = ""
    """FHIR type of what stands at the end: `CodeableConcept`, `dateTime`."""
    where: tuple[tuple[int, str, str], ...] = ()
    """Filters (index of a step, dotted path below it, value): after that step, some value at the path must equal it."""
    target: str | None = None
    """From `.where(resolve() is X)`: only references to this resource type count."""
    system: str = ""
    """For a `code` whose required binding draws from one code system: that system."""
    exists: bool = False
    """The value is whether anything but `false` stands here or at the parameter's other paths."""


@dataclass(frozen=True, slots=True)
class SearchComponent:
    """One part of a composite search parameter; its paths start where the composite's own path ends."""

    code: str
    """Code of the search parameter that the part behaves like."""
    kind: SearchKind
    paths: tuple[SearchPath, ...]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter as it applies to one resource type."""

    code: str
    kind: SearchKind
    """`special` means: known to R4, but without paths by which it could be evaluated."""
    url: str
    paths: tuple[SearchPath, ...] = ()
    targets: tuple[str, ...] = ()
    """Resource types that a reference parameter may point to."""
    components: tuple[SearchComponent, ...] = ()


class _TypeRecord(msgspec.Struct, omit_defaults=True):
    kind: TypeKind
    elements: list[Element]
    abstract: bool = False
    base: str = ""


class _Content(msgspec.Struct):
    """Layout of `r4.json`; written by `fhir/r4/data/generate.py`."""

    version: str
    primitives: list[str]
    resources: list[str]
    types: dict[str, msgspec.Raw]
    parameters: dict[str, msgspec.Raw]
    compartments: dict[str, dict[str, tuple[str, ...]]]


class _Types(Mapping[str, TypeDefinition]):
    """Types by name, decoded on first use."""

    def __init__(self, records: Mapping[str, msgspec.Raw]) -> None:
        self._records = records
        self._decoder = msgspec.json.Decoder(_TypeRecord)
        self._built: dict[str, TypeDefinition] = {}

    def __getitem__(self, name: str) -> TypeDefinition:
        built = self._built.get(name)
        if built is None:
            record = self._decoder.decode(self._records[name])
            elements = MappingProxyType({element.path: element for element in record.elements})
            built = TypeDefinition(name, record.kind, record.abstract, record.base, elements)
            self._built[name] = built
        return built

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


_NO_CHILDREN: Final[Mapping[str, Element]] = MappingProxyType({})
_ANYWHERE: Final = ("extension", "modifierExtension", "contained")
"""Elements that can hold any type: questions about where a type stands leave them out."""


class Definitions:
    """The R4 definitions. Nothing in here changes after loading; what is decoded is kept."""

    def __init__(self, content: bytes) -> None:
        data = msgspec.json.decode(content, type=_Content)
        self.version: Final = data.version
        self.types: Final[Mapping[str, TypeDefinition]] = _Types(data.types)
        """Every type, abstract ones and primitives too."""
        self.primitives: Final = frozenset(data.primitives)
        self.resource_types: Final = frozenset(data.resources)
        """The concrete resource types: what may stand in a URL."""
        self.compartments: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(data.compartments)
        """Per compartment (`Patient`, `Encounter`, …): resource type -> codes of the parameters that put it there.

        The compartment's own type may have none: an Encounter belongs to its own compartment by being it.
        """
        self.compartment: Final = self.compartments["Patient"]
        self._parameter_records = data.parameters
        self._parameter_decoder = msgspec.json.Decoder(list[SearchParameter])
        self._parameters: dict[str, Mapping[str, SearchParameter]] = {}
        self._children: dict[str, dict[str, dict[str, Element]]] = {}

    def search_parameters(self, resource_type: str) -> Mapping[str, SearchParameter]:
        """Parameters by code, those of Resource and DomainResource included. KeyError for an unknown type."""
        known = self._parameters.get(resource_type)
        if known is None:
            base = self.types[resource_type].base
            merged = dict(self.search_parameters(base)) if base else {}
            own = self._parameter_records.get(resource_type)
            if own is not None:
                merged.update((p.code, p) for p in self._parameter_decoder.decode(own))
            known = self._parameters[resource_type] = MappingProxyType(merged)
        return known

    def owner_paths(self, resource_type: str) -> tuple[SearchPath, ...]:
        """Where a resource says whose data it is: the paths of its `patient` parameter; none for Patient itself.

        Four types of the Patient compartment have no such parameter (AdverseEvent, Group, Schedule, SupplyRequest);
        theirs are the paths of the parameters that put them into the compartment.
        """
        if resource_type == "Patient":
            return ()
        parameters = self.search_parameters(resource_type)
        codes = ("patient",) if "patient" in parameters else self.compartment.get(resource_type, ())
        return tuple(path for code in codes for path in parameters[code].paths)

    def children(self, type_name: str, path: str = "") -> Mapping[str, Element]:
        """Elements directly below a path of a type, by name in FHIR spelling (`value[x]`), datatypes looked into.

        Empty below primitives and below a choice of several types that isn't narrowed (`valueQuantity` narrows it);
        below a contained resource only what every resource has. KeyError for an unknown type or path.
        """
        type_name, path = self.locate(type_name, path)
        if not type_name or type_name in self.primitives:
            return _NO_CHILDREN
        return self._tree(type_name).get(path, _NO_CHILDREN)

    def element(self, type_name: str, path: str) -> Element:
        """The element at a path of a type, datatypes looked into. KeyError where R4 has none."""
        parent, _, name = path.rpartition(".")
        return _named(self.children(type_name, parent), name)

    def locate(self, type_name: str, path: str) -> tuple[str, str]:
        """Where the children below a path are defined: a type and a path in it; ("", "") when that is no one type.

        Two paths with the same answer have the same inside, so recursion (`item.item`) ends by comparing answers.
        """
        here = ""
        if not path:
            self.types[type_name]  # KeyError for an unknown type
        for name in path.split(".") if path else ():
            element = _named(self._tree(type_name).get(here, _NO_CHILDREN), name)
            if element.content:
                here = element.content
                continue
            chosen = [t for member, t in json_members(element.path, element) if member.rpartition(".")[2] == name]
            types = tuple(chosen) or element.types
            if len(types) != 1:
                return "", ""
            if types[0] in ("BackboneElement", "Element"):
                here = element.path
            else:
                type_name, here = types[0], ""
        return type_name, here

    def summary_elements(self, type_name: str) -> tuple[Element, ...]:
        """Elements marked isSummary, of the type itself (FHIR R4 §3.1.1.5.9: `_summary=true`)."""
        return tuple(e for e in self.types[type_name].elements.values() if e.summary)

    def paths_holding(self, type_name: str, wanted: frozenset[str], *, depth: int = 8) -> Iterator[tuple[str, Element]]:
        """JSON paths (dotted, choices spelled out) at which a value of one of the wanted types may stand.

        Datatypes are looked into; extensions and contained resources, which may hold anything, are not. A type or
        content reference inside itself is followed once.
        """
        yield from self._holding(type_name, "", "", wanted, depth, frozenset({(type_name, "")}))

    def _holding(
        self,
        type_name: str,
        path: str,
        prefix: str,
        wanted: frozenset[str],
        depth: int,
        seen: frozenset[tuple[str, str]],
    ) -> Iterator[tuple[str, Element]]:
        for name, element in self.children(type_name, path).items():
            if name in _ANYWHERE or depth == 0:
                continue
            for member, member_type in json_members(name, element):
                below = prefix + member
                if member_type in wanted:
                    yield below, element
                place = self.locate(type_name, f"{path}.{member}" if path else member)
                if place[0] and place not in seen and member_type not in self.primitives:
                    yield from self._holding(*place, below + ".", wanted, depth - 1, seen | {place})

    def _tree(self, type_name: str) -> dict[str, dict[str, Element]]:
        tree = self._children.get(type_name)
        if tree is None:
            tree = {}
            for path, element in self.types[type_name].elements.items():
                parent, _, name = path.rpartition(".")
                tree.setdefault(parent, {})[name] = element
            self._children[type_name] = tree
        return tree


def json_members(name: str, element: Element) -> list[tuple[str, str]]:
    """JSON property names of an element, each with its type: a choice has one for each type (FHIR R4 §2.6.1)."""
    if not name.endswith("[x]"):
        return [(name, element.types[0] if element.types else "Element")]
    stem = name.removesuffix("[x]")
    return [(stem + type_name[0].upper() + type_name[1:], type_name) for type_name in element.types]


def is_of_r4(parameter: SearchParameter) -> bool:
    """Whether R4 itself has the parameter; others are US Core's."""
    return parameter.url.startswith("http://hl7.org/fhir/SearchParameter/")


def _named(elements: Mapping[str, Element], name: str) -> Element:
    """An element by its FHIR name or, for a choice, by one of its JSON names."""
    found = elements.get(name)
    if found is not None:
        return found
    for choice, element in elements.items():
        if choice.endswith("[x]") and any(member == name for member, _ in json_members(choice, element)):
            return element
    raise KeyError(name)


def load_definitions() -> Definitions:
    """Reads the definitions that ship with Assent. The caller keeps them: each call reads anew."""
    packed = resources.files("fhir.r4.data").joinpath("r4.json.gz").read_bytes()
    return Definitions(gzip.decompress(packed))
