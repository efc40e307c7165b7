"""JSON Patch (RFC 6902) on a resource, bounded: FHIR R4 §3.1.0.8 leaves the format to it.

A `copy` can double what it copies, so the result is measured after every operation, not only at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import msgspec

from fhir.r4.resource_body import content_list, content_of, encode_body
from fhir.r4.strict_json import check_once

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
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_Operation = dict[str, Any]


class PatchRefused(ValueError):
    """The patch can't be applied: HTTP status, FHIR issue code, a text that names the operation and never a value.

    `expression`: where the operation stands, for a patch that is a resource.
    """

    def __init__(self, status: int, code: str, text: str, expression: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.expression = status, code, text, expression


class _NoFit(ValueError):
    """A path leads nowhere, or where the operation may not go."""


def read_patch(raw: bytes) -> list[_Operation]:
    """The operations of a patch document. Raises PatchRefused."""
    if len(raw) > MAX_PATCH:
        raise PatchRefused(413, "too-long", f"a patch may have at most {MAX_PATCH} bytes")
    try:
        check_once(raw)
        operations = content_list(raw)
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


def apply_patch(body: bytes, operations: list[_Operation], *, max_bytes: int) -> bytes:
    """The body with the operations applied, all or none. Raises PatchRefused."""
    content: Any = content_of(body)
    patched = body
    for number, operation in enumerate(operations):
        try:
            if operation["op"] == "test":
                if not _same(_at(content, _pointer(operation["path"])), operation["value"]):
                    raise PatchRefused(412, "conflict", f"the test in operation {number} doesn't hold")
                continue
            content = _applied(content, operation)
            patched = encode_body(content)
        except (_NoFit, TypeError, RecursionError) as refused:
            raise PatchRefused(422, "processing", f"operation {number} doesn't fit the resource") from refused
        if len(patched) > max_bytes:
            raise PatchRefused(422, "too-long", f"after operation {number} the resource has over {max_bytes} bytes")
    return patched


def _applied(content: Any, operation: _Operation) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(content, path, deepcopy(operation["value"]))
        case "replace":
            _at(content, path)
            return _add(_remove(content, path) if path else None, path, deepcopy(operation["value"]))
        case "remove":
            return _remove(content, path)
        case "copy":
            return _add(content, path, deepcopy(_at(content, _pointer(operation["from"]))))
        case _:
            origin = _pointer(operation["from"])
            if path[: len(origin)] == origin and path != origin:
                raise _NoFit  # RFC 6902 §4.4: nothing moves into itself
            value = _at(content, origin)
            return content if path == origin else _add(_remove(content, origin), path, value)


def _pointer(text: str) -> list[str]:
    """RFC 6901 §3 and §4."""
    if (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        raise _NoFit
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(content: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list):
            content = content[_index(content, part)]
        else:
            raise _NoFit
    return content


def _index(items: list[Any], part: str) -> int:
    if _INDEX.fullmatch(part) is None or int(part) >= len(items):
        raise _NoFit
    return int(part)


def _add(content: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(content, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last in ("-", str(len(parent))) else _index(parent, last), value)
    else:
        raise _NoFit
    return content


def _remove(content: Any, path: list[str]) -> Any:
    if not path:
        raise _NoFit
    parent, last = _at(content, path[:-1]), path[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(parent, last)]
    else:
        raise _NoFit
    return content


def _same(one: Any, other: Any) -> bool:
    """RFC 6902 §4.6. Python takes `True` for 1, JSON doesn't."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
