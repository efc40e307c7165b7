"""A resource cut down to what `_summary` or `_elements` ask for, and marked as such.

FHIR R4 §3.1.1.5.9 and §3.1.1.5.10: mandatory elements stay, and `meta.tag` gets SUBSETTED. Elements are kept or
left out at the first level; what is kept stays byte for byte.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fhir.r4.definitions import Definitions, json_members
from fhir.search.result_parameters import Summary

_TOP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})


def summarized(body: bytes, resource_type: str, summary: Summary, definitions: Definitions) -> bytes:
    """The body as `_summary=true`, `text` or `data` shows it; unchanged for any other value."""
    elements = definitions.types[resource_type].elements
    top = {name for name in elements if "." not in name}
    match summary:
        case "true":
            wanted = {name for name in top if elements[name].summary}
        case "text":
            wanted = {"text"}
        case "data":
            wanted = top - {"text"}
        case _:
            return body
    return _subset(body, resource_type, wanted, definitions)


def with_elements(body: bytes, resource_type: str, names: tuple[str, ...], definitions: Definitions) -> bytes:
    """The body with the elements named by `_elements`; unchanged when none is."""
    if not names:
        return body
    return _subset(body, resource_type, {*names, *(f"{name}[x]" for name in names)}, definitions)


def _subset(body: bytes, resource_type: str, wanted: set[str], definitions: Definitions) -> bytes:
    kept = set(_ALWAYS)
    for name, element in definitions.types[resource_type].elements.items():
        if "." not in name and (name in wanted or element.min > 0):
            kept |= {member for member, _ in json_members(name, element)}
    # `_birthDate` carries the extensions of `birthDate`.
    properties: dict[str, Any] = {
        name: value for name, value in _TOP.decode(body).items() if name.removeprefix("_") in kept
    }
    meta = msgspec.json.decode(properties["meta"]) if "meta" in properties else {}
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    properties["meta"] = meta
    return msgspec.json.encode(properties)
