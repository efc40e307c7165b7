"""JSON Patch (RFC 6902) on a resource, bounded: FHIR R4 §3.1.0.8 leaves the format to it.

A `copy` can double what it copies, so the result is measured after every operation, not only at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jsonpatch
import jsonpointer
import msgspec

from fhir.resource_body import content_of
from fhir.strict_json import check_once

MAX_OPERATIONS: Final = 100
MAX_PATCH: Final = 65_536
"""Bytes of a patch."""
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "add": frozenset({"op", "path", "value"}),
    "replace": frozenset({"op", "path", "value"}),
    "test": frozenset({"op", "path", "value"}),
    "remove": frozenset({"op", "path"}),
    "move": frozenset({"op", "path", "from"}),
    "copy": frozenset({"op", "path", "from"}),
}
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class PatchRefused(ValueError):
    """The patch can't be applied: HTTP status, FHIR issue code, a text that names the operation and never a value."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


def read_patch(raw: bytes) -> list[dict[str, Any]]:
    """The operations of a patch document. Raises PatchRefused."""
    if len(raw) > MAX_PATCH:
        raise PatchRefused(413, "too-long", f"a patch may have at most {MAX_PATCH} bytes")
    try:
        check_once(raw)
        operations = msgspec.json.decode(raw, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise PatchRefused(400, "structure", "a JSON Patch is a list of objects (RFC 6902 §3)") from broken
    if not 0 < len(operations) <= MAX_OPERATIONS:
        raise PatchRefused(422, "too-costly", f"a patch takes 1 to {MAX_OPERATIONS} operations")
    for number, operation in enumerate(operations):
        name = operation.get("op")
        wanted = _KEYS.get(name) if isinstance(name, str) else None
        if wanted is None or not wanted.issubset(operation):
            raise PatchRefused(400, "structure", f"operation {number} is none of RFC 6902, or lacks a member")
        if not all(isinstance(operation[key], str) for key in wanted & {"path", "from"}):
            raise PatchRefused(400, "structure", f"a path of operation {number} is not a string")
    return operations


def apply_patch(body: bytes, operations: list[dict[str, Any]], *, max_bytes: int) -> bytes:
    """The body with the operations applied, all or none. Raises PatchRefused."""
    content: Any = content_of(body)
    for number, operation in enumerate(operations):
        try:
            content = jsonpatch.JsonPatch([operation]).apply(content)
        except jsonpatch.JsonPatchTestFailed as failed:
            raise PatchRefused(412, "conflict", f"the test in operation {number} doesn't hold") from failed
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, RecursionError) as refused:
            raise PatchRefused(422, "processing", f"operation {number} doesn't fit the resource") from refused
        if len(_encode(content)) > max_bytes:
            raise PatchRefused(422, "too-long", f"after operation {number} the resource has over {max_bytes} bytes")
    return _encode(content)
