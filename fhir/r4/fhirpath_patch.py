"""FHIRPath Patch on a resource, bounded (FHIR R4 §3.1.0.8 and "FHIRPath Patch"): add, insert, delete, replace, move.

A Parameters resource with one `operation` for each change. Paths are those of `fhir.r4.patch_path`, values those of
`fhir.r4.patch_value`. Extensions of primitives (`_birthDate`) can't be given; where they stand in a list beside its
items, the list isn't changed. Whether the outcome is valid is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fhir.r4.definitions import Definitions, json_members
from fhir.r4.json_patch import MAX_OPERATIONS, MAX_PATCH, PatchRefused
from fhir.r4.patch_path import Named, PathRefused, PathWalk, Place, Step, Where, read_path
from fhir.r4.patch_value import value_at
from fhir.r4.resource_body import content_of, encode_body
from fhir.r4.strict_json import check_once

_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "add": frozenset({"type", "path", "name", "value"}),
    "insert": frozenset({"type", "path", "value", "index"}),
    "delete": frozenset({"type", "path"}),
    "replace": frozenset({"type", "path", "value"}),
    "move": frozenset({"type", "path", "source", "destination"}),
}
_MEMBERS: Final = {"type": "valueCode", "path": "valueString", "name": "valueString"}
_NUMBERS: Final = frozenset({"index", "source", "destination"})
_SHAPELESS: Final = "what stands at the path isn't shaped as R4 shapes it"
_KEYS: Final = frozenset({"resourceType", "id", "meta", "parameter"})


@dataclass(frozen=True, slots=True)
class PathOperation:
    """One change that is well put."""

    type: str
    steps: tuple[Step, ...]
    name: str = ""
    value: Mapping[str, Any] | None = None
    """The part that holds the value."""
    index: int = 0
    """Of an insert, or where a move ends."""
    source: int = 0

    @property
    def asks(self) -> bool:
        """Whether its outcome tells of a value that stands there."""
        return any(isinstance(step, Where) for step in self.steps)


def read_path_patch(raw: bytes, kind: str) -> list[PathOperation]:
    """The operations of a patch of a resource of type `kind`. Raises PatchRefused."""
    if len(raw) > MAX_PATCH:
        raise PatchRefused(413, "too-long", f"a patch may have at most {MAX_PATCH} bytes")
    try:
        raw.decode()
        check_once(raw)
        content = content_of(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise PatchRefused(400, "structure", "the body is no JSON object in which every member stands once") from broken
    listed = content.get("parameter")
    if content.get("resourceType") != "Parameters" or not _KEYS.issuperset(content) or not isinstance(listed, list):
        raise PatchRefused(400, "structure", "a FHIRPath Patch is a Parameters resource with `operation` parameters")
    if not 0 < len(listed) <= MAX_OPERATIONS:
        raise PatchRefused(422, "too-costly", f"a patch takes 1 to {MAX_OPERATIONS} operations")
    return [_operation(number, item, kind) for number, item in enumerate(listed)]


def apply_path_patch(
    body: bytes, operations: list[PathOperation], definitions: Definitions, kind: str, *, max_bytes: int
) -> bytes:
    """The body with the operations applied in their order, all or none. Raises PatchRefused."""
    content = content_of(body)
    walk = PathWalk(definitions, kind)
    for number, operation in enumerate(operations):
        try:
            _apply(walk, content, operation)
        except PathRefused as refused:
            raise _refused(number, refused) from refused
    patched = encode_body(content)
    if len(patched) > max_bytes:
        raise PatchRefused(422, "too-long", f"after the patch the resource has over {max_bytes} bytes")
    return patched


def _operation(number: int, item: object, kind: str) -> PathOperation:
    parts = _parts(item)
    type = parts.get("type", {}).get("valueCode")
    wanted = _PARTS.get(type) if isinstance(type, str) else None
    if type is None or wanted is None or parts.keys() != wanted:
        text = f"operation {number} is none of FHIRPath Patch, or has other parts than it takes, or one of them twice"
        raise PatchRefused(400, "structure", text, _place(number))
    plain = {name: _plain(name, part) for name, part in parts.items() if name != "value"}
    if None in plain.values():
        text = f"a part of operation {number} has another type than FHIRPath Patch gives it"
        raise PatchRefused(400, "structure", text, _place(number))
    try:
        steps = read_path(plain["path"], kind)
    except PathRefused as refused:
        raise _refused(number, refused) from refused
    index = plain.get("index", plain.get("destination", 0))
    return PathOperation(type, steps, plain.get("name", ""), parts.get("value"), index, plain.get("source", 0))


def _parts(item: object) -> dict[str, dict[str, Any]]:
    """The parts of an operation by their names; none when it isn't one, or when a name stands twice."""
    if not isinstance(item, dict) or item.get("name") != "operation" or not {"id", "name", "part"}.issuperset(item):
        return {}
    listed = item.get("part")
    parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    named = {part["name"]: part for part in parts if isinstance(part.get("name"), str)}
    return named if isinstance(listed, list) and len(named) == len(listed) else {}


def _plain(name: str, part: Mapping[str, Any]) -> Any:
    """The text or number of a part; None when it has another type, or anything besides."""
    member, kind = ("valueInteger", int) if name in _NUMBERS else (_MEMBERS[name], str)
    value = part.get(member)
    fits = isinstance(value, kind) and not isinstance(value, bool) and {"id", "name", member}.issuperset(part)
    return value if fits else None


def _apply(walk: PathWalk, content: dict[str, Any], operation: PathOperation) -> None:
    match operation.type:
        case "add":
            _add(walk, walk.only(content, operation.steps), operation)
        case "replace":
            _replace(walk, walk.only(content, operation.steps), operation)
        case "delete":
            found = walk.places(content, operation.steps)
            if len(found) > 1:
                raise PathRefused("processing", "the path leads to several elements; one can be deleted")
            if found:
                _delete(walk, found[0])
        case "insert":
            place, items = _list(walk, content, operation)
            _, value = value_at(walk, place.path, _last(operation), operation.value or {})
            items.insert(_within(operation.index, len(items)), value)
        case _:
            _, items = _list(walk, content, operation)
            source, destination = (_within(n, len(items) - 1) for n in (operation.source, operation.index))
            items.insert(destination, items.pop(source))


def _add(walk: PathWalk, place: Place, operation: PathOperation) -> None:
    if not operation.name.isidentifier():
        raise PathRefused("processing", "R4 has no element of that name there")
    spelt, element = walk.element(place.path, operation.name)
    member, value = value_at(walk, place.path, operation.name, operation.value or {})
    holder = place.value
    if not isinstance(holder, dict):
        raise PathRefused("processing", _SHAPELESS)
    if element.max != "1":
        _check_alone(holder, member)
        items = holder.setdefault(member, [])
        if not isinstance(items, list):
            raise PathRefused("processing", _SHAPELESS)
        items.append(value)
    elif any(name in holder or f"_{name}" in holder for name, _ in json_members(spelt, element)):
        raise PathRefused("processing", "the element is there and can't repeat; replace it")
    else:
        holder[member] = value


def _replace(walk: PathWalk, place: Place, operation: PathOperation) -> None:
    up = _not_whole(place)
    name = next(step.name for step in reversed(operation.steps) if isinstance(step, Named))
    member, value = value_at(walk, up.path, name, operation.value or {})
    if place.index is not None:
        _check_alone(place.holder, place.member)
        place.holder[place.member][place.index] = value
    else:
        del place.holder[place.member]
        place.holder.pop(f"_{place.member}", None)  # its extensions go with it
        place.holder[member] = value


def _delete(walk: PathWalk, place: Place) -> None:
    """FHIR knows no empty element, so a datatype that lost its last one goes too. A backbone element stays.

    Who deletes the `type` of a provision doesn't mean that the provision should go: an exception would be gone unasked.
    """
    up = _not_whole(place)
    if place.index is None:
        del place.holder[place.member]
        place.holder.pop(f"_{place.member}", None)
    else:
        _check_alone(place.holder, place.member)
        del place.holder[place.member][place.index]
        if not place.holder[place.member]:
            del place.holder[place.member]
    if not up.value and up.up is not None and walk.definitions.locate(walk.kind, up.path)[1] == "":
        _delete(walk, up)


def _list(walk: PathWalk, content: dict[str, Any], operation: PathOperation) -> tuple[Place, list[Any]]:
    """The list that a path names as a whole, and the element that it stands in. Raises PathRefused."""
    place = walk.only(content, operation.steps[:-1])
    spelt, element = walk.element(place.path, _last(operation))
    (member, _), *others = json_members(spelt, element)
    items = place.value.get(member) if isinstance(place.value, dict) else None
    if element.max == "1" or others or not isinstance(items, list):
        raise PathRefused("processing", "no list stands at the path")
    _check_alone(place.value, member)
    return place, items


def _last(operation: PathOperation) -> str:
    last = operation.steps[-1] if operation.steps else None
    if not isinstance(last, Named):
        raise PathRefused("processing", "the path must end with the name of a list")
    return last.name


def _within(number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise PathRefused("processing", "the list has no such place")
    return number


def _not_whole(place: Place) -> Place:
    if place.up is None:
        raise PathRefused("processing", "the resource itself can't be replaced or deleted by a patch")
    return place.up


def _check_alone(holder: Mapping[str, Any], member: str) -> None:
    """FHIR R4 §2.6.2.2: such a list goes beside one of extensions, place by place."""
    if f"_{member}" in holder:
        raise PathRefused("not-supported", "items of the list have extensions of their own; send JSON Patch")


def _refused(number: int, refused: PathRefused) -> PatchRefused:
    return PatchRefused(422, refused.code, f"operation {number}: {refused.text}", _place(number))


def _place(number: int) -> tuple[str, ...]:
    return (f"Parameters.parameter[{number}]",)
