"""What mustn't stand inside an element that is kept as it is: names of others, in its extensions above all, comments.

An extension inside an element that is shown is a part of it (docs/leaks.md L33), whatever the data type of its value.
The references in it are held to what holds for all: a name only for providers and places, no identifier, nothing that
leads elsewhere (L32, L34). Taking them out would lose them when the element is written back, and these are rare, so
the resource is withheld whole. So is one in which a reference stands where R4 has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES

_DEFINITIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
_EXTENSIONS: Final = frozenset({"extension", "modifierExtension"})
_COMMENTS: Final = "fhir_comments"
"""Free text that DSTU2 allowed at any object; R4 has none."""
TELLING: Final = frozenset({*_EXTENSIONS, _COMMENTS})
"""Members that are looked into always."""
_REFERENCE: Final = "reference"
_SAID: Final = frozenset({_REFERENCE, "type", "display"})
_REFERENCES: Final = frozenset(
    # Of Extension, UsageContext, Annotation, Signature, Identifier, DataRequirement and TriggerDefinition (R4 §2.24).
    {"valueReference", "authorReference", "who", "onBehalfOf", "assigner", "subjectReference", "timingReference"}
)
"""Members of data types, of all that may stand in an extension, that are references."""
_MARKS: Final = (b'"extension"', b'"reference"', b"\\", b'"fhir_comments"')
_OPENING: Final = frozenset(b"{[")
_decode: Final = msgspec.json.Decoder(object).decode


def may_tell(text: bytes) -> bool:
    """Whether the value of any other member must be looked into: one in which such a name stands, or an escaped one."""
    return text[0] in _OPENING and any(mark in text for mark in _MARKS)


def tells_of_others(
    name: str,
    raw: msgspec.Raw,
    relative: Callable[[str], str | None],
    may_name: Callable[[str], bool],
    *,
    own: bool = False,
) -> bool:
    """Whether a member that is kept has comments in it, or a reference that names somebody. Raises DecodeError.

    `own`: one in which references stand by rights; those in extensions are looked at.
    """
    if name == _COMMENTS:
        return True
    edge: list[tuple[object, bool]] = [(_decode(raw), name in _EXTENSIONS)]
    while edge:
        here, inside = edge.pop()
        if isinstance(here, dict):
            references = [here[member] for member in _REFERENCES & here.keys()] if inside else []
            # Elements in which R4 has a reference aren't kept as they are, but in Assent's own types.
            if _REFERENCE in here and (inside or not own):
                references.append(here)
            if _COMMENTS in here or not all(_is_bare(one, relative, may_name) for one in references):
                return True
            edge += [(value, inside or key in _EXTENSIONS) for key, value in here.items()]
        elif isinstance(here, list):
            edge += [(item, inside) for item in here]
    return False


def is_type(value: object) -> bool:
    """Whether a `Reference.type` says nothing but a resource type of R4, by its name or its canonical URL."""
    return isinstance(value, str) and value.removeprefix(_DEFINITIONS) in RESOURCE_TYPE_NAMES


def _is_bare(reference: object, relative: Callable[[str], str | None], may_name: Callable[[str], bool]) -> bool:
    """Whether a reference says no more than where it leads."""
    if not isinstance(reference, dict) or not reference.keys() <= _SAID:
        return False
    literal = reference.get(_REFERENCE)
    if not isinstance(literal, str) or not ("type" not in reference or is_type(reference["type"])):
        return False
    target = literal if literal.startswith("#") else relative(literal)
    return target is not None and ("display" not in reference or may_name(target))
