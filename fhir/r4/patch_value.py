"""What a FHIRPath Patch adds: `value[x]` of the very type that R4 has at its place, or parts for what has no such type.

FHIR R4, FHIRPath Patch: a value of another type is an error; elements without a type of their own, such as
`Consent.provision`, are given as parts, each named as the child that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir.r4.definitions import json_members
from fhir.r4.patch_path import PathRefused, PathWalk, below

MAX_DEPTH: Final = 20
"""Of parts in parts."""
_MOST_NAMED: Final = 5
_Json = Mapping[str, Any]


def value_at(walk: PathWalk, path: str, name: str, part: _Json, depth: int = 0) -> tuple[str, Any]:
    """The JSON member below a path that the element `name` becomes, and its value. Raises PathRefused."""
    spelt, element = walk.element(path, name)
    members = json_members(spelt, element)
    given = [key for key in part if key not in ("name", "id")]
    if len(given) != 1:
        raise PathRefused("structure", "a value is one `value[x]`, or parts")
    if given == ["part"]:
        if len(members) > 1 or members[0][1] in walk.definitions.primitives:
            raise PathRefused("value", f"`{name}` has types of its own: give one `value[x]`, no parts")
        return members[0][0], _from_parts(walk, below(path, members[0][0]), part["part"], depth)
    for member, kind in members:
        if given[0] == _spelt_as(kind):
            value = part[given[0]]
            if isinstance(value, dict) is (kind in walk.definitions.primitives) or isinstance(value, list | None):
                raise PathRefused("value", f"`{given[0]}` isn't shaped as R4 shapes it")
            return member, value
    raise PathRefused("value", f"`{name}` must be given as {_wanted([kind for _, kind in members])}")


def _wanted(kinds: list[str]) -> str:
    if kinds[0] in ("BackboneElement", "Element"):
        return "`part`"
    named = [f"`{_spelt_as(kind)}`" for kind in kinds[:_MOST_NAMED]]
    return " or ".join(named if len(kinds) <= _MOST_NAMED else ["one of the types that R4 has there"])


def _from_parts(walk: PathWalk, path: str, parts: object, depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise PathRefused("too-costly", f"parts may stand in each other {MAX_DEPTH} deep")
    if not isinstance(parts, list) or not parts:
        raise PathRefused("structure", "parts are a list of objects with a `name`")
    made: dict[str, Any] = {}
    for part in parts:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or not name.isidentifier():
            raise PathRefused("structure", "parts are a list of objects with a `name`")
        spelt, element = walk.element(path, name)
        member, value = value_at(walk, path, name, part, depth + 1)
        if element.max != "1":
            made.setdefault(member, []).append(value)
        elif any(other in made for other, _ in json_members(spelt, element)):
            raise PathRefused("value", f"`{name}` can't repeat")
        else:
            made[member] = value
    return made


def _spelt_as(kind: str) -> str:
    """The member of a Parameters resource for a type. XHTML has none, so it is given as the text that it is in JSON."""
    return "valueString" if kind == "xhtml" else f"value{kind[0].upper()}{kind[1:]}"
