"""What mustn't stand inside an element that is kept as it is: names of others in its extensions, comments.

An extension inside an element that is shown is a part of it (docs/leaks.md L33). The references in it are held to what
holds for all: a name only for providers and places, no identifier, nothing that leads elsewhere (L32, L34). Taking
them out would lose them when the element is written back, and these are rare, so the resource is withheld whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

_EXTENSIONS: Final = frozenset({"extension", "modifierExtension"})
_COMMENTS: Final = "fhir_comments"
"""Free text that DSTU2 allowed at any object; R4 has none."""
TELLING: Final = frozenset({*_EXTENSIONS, _COMMENTS})
"""Members that are looked into always."""
_OPENING: Final = frozenset(b"{[")
_decode: Final = msgspec.json.Decoder(object).decode


def may_tell(text: bytes) -> bool:
    """Whether the value of any other member must be looked into: one in which such a name stands, or an escaped one."""
    return text[0] in _OPENING and (b'"extension"' in text or b"\\" in text or b'"fhir_comments"' in text)


def tells_of_others(
    name: str, raw: msgspec.Raw, relative: Callable[[str], str | None], may_name: Callable[[str], bool]
) -> bool:
    """Whether a member that is kept has comments in it, or an extension that names somebody. Raises DecodeError."""
    if name == _COMMENTS:
        return True
    edge: list[tuple[object, bool]] = [(_decode(raw), name in _EXTENSIONS)]
    while edge:
        here, inside = edge.pop()
        if isinstance(here, dict):
            if _COMMENTS in here or (inside and "valueReference" in here and not _is_bare(here, relative, may_name)):
                return True
            edge += [(value, inside or key in _EXTENSIONS) for key, value in here.items()]
        elif isinstance(here, list):
            edge += [(item, inside) for item in here]
    return False


def _is_bare(
    extension: dict[str, object], relative: Callable[[str], str | None], may_name: Callable[[str], bool]
) -> bool:
    """Whether the reference that an extension holds says no more than where it leads."""
    reference = extension["valueReference"]
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(reference, dict) or not isinstance(literal, str) or "identifier" in reference:
        return False
    target = literal if literal.startswith("#") else relative(literal)
    return target is not None and ("display" not in reference or may_name(target))
