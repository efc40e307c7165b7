"""Whether the body of a write is a resource at all: strict JSON, of the type and id that the address names.

FHIR R4 §3.1.0; RFC 8259 §4. Bounded in bytes and depth, and without what FHIR JSON doesn't have: members that stand
twice, nulls, empty objects and lists (§2.6.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fhir.proxy.request import ProxyRefusal
from fhir.r4.definitions import Definitions, Element, json_members
from fhir.r4.resource_body import content_of
from fhir.r4.strict_json import check_once

MAX_RESOURCE: Final = 262_144
"""Bytes of a resource that apps write."""
MAX_DEPTH: Final = 32


def read_resource(raw: bytes, definitions: Definitions, kind: str, id: str = "") -> dict[str, Any]:
    """The resource; `id` empty for a create, which brings none. Raises ProxyRefusal."""
    try:
        raw.decode()
        check_once(raw)
        content = content_of(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProxyRefusal(400, "structure", "the body is no JSON object in UTF-8 whose members stand once") from None
    if content.get("resourceType") != kind:
        raise ProxyRefusal(400, "invalid", f"the body must be a resource of type `{kind}`")
    if not id and "id" in content:
        raise ProxyRefusal(400, "business-rule", "the server gives the id; send the resource without one")
    if id and content.get("id") != id:
        raise ProxyRefusal(400, "invalid", "`id` must be the id in the address")
    _check_shape(content)
    _check_lists(content, definitions.children(kind, ""))
    return content


def _check_lists(content: dict[str, Any], elements: Mapping[str, Element]) -> None:
    """FHIR R4 §2.6.2: what can repeat is a list, and nothing else is; readers differ over what is neither."""
    for name, element in elements.items():
        for member, _ in json_members(name, element):
            for found in (content.get(member), content.get(f"_{member}")):
                if found is not None and isinstance(found, list) is (element.max == "1"):
                    raise ProxyRefusal(
                        422, "structure", f"`{member}` is a list where R4 has none, or none where it has"
                    )


def _check_shape(content: dict[str, Any]) -> None:
    """Refuse what FHIR JSON doesn't have. Raises ProxyRefusal."""
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for value in level:
            if value is None or value in ({}, [], ""):
                raise ProxyRefusal(400, "structure", "FHIR JSON has no nulls, and nothing that is empty")
            if isinstance(value, dict):
                deeper += value.values()
            elif isinstance(value, list):
                # FHIR R4 §2.6.2.2: in a list of primitives a null holds the place of one that has extensions only.
                deeper += [item for item in value if item is not None]
        if not deeper:
            return
        level = deeper
    raise ProxyRefusal(400, "too-long", f"the body is nested deeper than {MAX_DEPTH} levels")
