"""What becomes of a resource when somebody writes it who sees only a part of it (docs/decisions/0022-writes.md).

Three forms go in: the resource as it is, as the writer sees it (`fhir.minimization.minimize`), and as the writer wants
it. What the writer sees and left alone stays as it is, hidden parts and all; what it changed is taken from it; what
its mask hides stays, and can't be set. A create is the same with nothing before it.
INVARIANT: whether a write is refused follows from the mask, from what the writer sees and from what it sent; never from
what is hidden from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fhir.minimization.mask_plan import Beside, Extensions, MaskNode, Treatment
from fhir.minimization.minimize import MinimizeRules
from policies.codes import OBSERVATION_VALUE_SYSTEM

_MARKS: Final = tuple({"system": OBSERVATION_VALUE_SYSTEM, "code": code} for code in ("SUBSETTED", "REDACTED"))
"""What the minimizer puts into `meta` itself."""
_MASKED: Final = b'"valueCode":"masked"'
_SERVERS: Final = ("versionId", "lastUpdated")
_STICKY: Final = {"profile": str, "security": dict}
_NO_NARRATIVE: Final = {"status": "empty", "div": '<div xmlns="http://www.w3.org/1999/xhtml">See the elements.</div>'}
_key = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_Object = dict[str, Any]


class NotWritable(ValueError):
    """The content sets or drops what this writer can't; `place` names the element and never a value."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place: Final = place[:100]


def merge(node: MaskNode, rules: MinimizeRules, old: _Object, seen: _Object, new: _Object) -> _Object:
    """The resource to be stored. `old` and `seen` are empty for one that isn't there yet. Raises NotWritable."""
    _check_marks(_bare(seen), new)
    content = _Merge(rules).object(node, _bare(old), _bare(seen), _bare(new), "")
    narrative = old.get("text")
    if isinstance(narrative, dict) and narrative.get("status") == "generated" and content != _bare(old):
        # It says in words what the elements said before (FHIR R4 §2.4). It isn't just left out: without it, nothing
        # might be hidden any more, and the mark that tells so would tell of it.
        content["text"] = _NO_NARRATIVE
    meta = _meta(old.get("meta", {}), seen.get("meta", {}), new.get("meta", {}))
    head = {"resourceType": new["resourceType"]} | ({"meta": meta} if meta else {})
    return head | content


def _check_marks(seen: _Object, new: _Object) -> None:
    """What is shown as masked stays: whoever takes it away doesn't know what it is."""
    for name, value in seen.items():
        if _key(value).count(_MASKED) > _key(new.get(name)).count(_MASKED):
            raise NotWritable(name)


def _bare(resource: _Object) -> _Object:
    return {name: value for name, value in resource.items() if name != "meta"}


class _Merge:
    """One write on its way."""

    def __init__(self, rules: MinimizeRules) -> None:
        self._rules = rules

    def object(self, node: MaskNode, old: _Object, seen: _Object, new: _Object, place: str) -> _Object:
        found: _Object = {
            name: value
            for name, value in old.items()
            if _is_hidden(node, name) or (name not in seen and name not in new)
        }
        for name, value in new.items():
            here = f"{place}.{name}" if place else name
            if name in seen and _same(value, seen[name]):
                if name in old:
                    found[name] = old[name]
            elif _is_hidden(node, name):
                raise NotWritable(here)
            else:
                found[name] = self._value(node.members.get(name), (old.get(name), seen.get(name), value), here)
        for name in seen:
            if name not in new and _is_kept_in_part(node.members.get(name)):
                raise NotWritable(f"{place}.{name}" if place else name)
        extensions = node.members.get("extension")
        if "extension" in seen and "extension" not in new and isinstance(extensions, Extensions):
            found |= _hidden_extensions(old.get("extension", ()), extensions)
        return {name: found[name] for name in dict.fromkeys((*old, *new)) if name in found}

    def _value(self, treatment: MaskNode | Treatment | None, forms: tuple[Any, Any, Any], place: str) -> Any:
        _, seen, new = forms
        if treatment in ("keep", "own", "plain", None):  # None: inside of what is kept as it is
            return new
        if isinstance(treatment, Extensions):
            return _extensions(forms, treatment, place)
        if treatment == "reference":
            return self._each(lambda item, pair: self._reference(item, *pair, place), forms, place)
        if isinstance(treatment, MaskNode):
            inside = treatment
            found = self._each(lambda item, pair: self.object(inside, *pair, item, place), forms, place)
            if not inside.open and isinstance(seen, list) and not _all_there(seen, new):
                raise NotWritable(place)
            return found
        raise NotWritable(place)  # contained resources, and what stands beside primitives in part, stay as they are

    def _each(
        self, one: Callable[[_Object, tuple[_Object, _Object]], Any], forms: tuple[Any, Any, Any], place: str
    ) -> Any:
        """An object by itself, the items of a list each with the one that it was."""
        old, seen, new = forms
        if seen is None:
            old = seen = type(new)()
        if type(seen) is not type(new) or not isinstance(new, (dict, list)):
            raise NotWritable(place)  # FHIR R4 §2.6.2: what can repeat is a list, and nothing else is
        if isinstance(new, dict):
            return one(new, (old, seen))
        if not all(isinstance(item, dict) for item in new):
            raise NotWritable(place)
        found: list[Any] = []
        for item, at in zip(new, _origins(seen, new), strict=True):
            if at is not None and _same(item, seen[at]):
                found.append(old[at])
            else:
                found.append(one(item, ({}, {}) if at is None else (old[at], seen[at])))
        return found

    def _reference(self, new: _Object, old: _Object, seen: _Object, place: str) -> _Object:
        """Another target is another reference: what stood beside the old one described that."""
        literal = new.get("reference")
        target = self._rules.relative(literal) if isinstance(literal, str) else None
        allowed = {"reference", "type"}
        if target is not None and target.partition("/")[0] in self._rules.named_references:
            allowed.add("display")
        if target is None or target != literal or not new.keys() <= allowed:
            raise NotWritable(place)
        same = seen.get("reference") == literal
        return {name: value for name, value in old.items() if same and name not in allowed} | new


def _extensions(forms: tuple[Any, Any, Any], allowed: Extensions, place: str) -> list[Any]:
    """Those that the writer doesn't see stay. What it sees of one may be a part of it: then it may only add others."""
    old, seen, new = forms
    if not isinstance(new, list):
        raise NotWritable(place)
    if any(not isinstance(item, dict) or item.get("url") not in allowed.urls for item in new):
        raise NotWritable(place)
    hidden = _hidden_extensions(old or [], allowed).get("extension", ())
    if allowed.inside is None or not seen:
        return [*hidden, *new]
    whole = [item for item in old if item.get("url") in allowed.urls]
    origins = _origins(seen, new)
    if any(at is not None and not _same(item, seen[at]) for item, at in zip(new, origins, strict=True)):
        raise NotWritable(place)
    if not _all_there(seen, new):
        raise NotWritable(place)
    return [*hidden, *(item if at is None else whole[at] for item, at in zip(new, origins, strict=True))]


def _hidden_extensions(old: Sequence[_Object], allowed: Extensions) -> _Object:
    kept = [item for item in old if item.get("url") not in allowed.urls]
    return {"extension": kept} if kept else {}


def _is_hidden(node: MaskNode, name: str) -> bool:
    """Whether the mask takes the member away, or puts something in its place."""
    return name not in node.members and not node.open


def _is_kept_in_part(treatment: MaskNode | Treatment | None) -> bool:
    """Whether taking the element away could take along what the writer doesn't see."""
    return (
        treatment == "contained"
        or isinstance(treatment, Beside)
        or (isinstance(treatment, Extensions) and treatment.inside is not None)
        or (isinstance(treatment, MaskNode) and not treatment.open)
    )


def _origins(seen: Sequence[Any], new: Sequence[Any]) -> list[int | None]:
    """For each new item the seen one that it was: one alike, at the same place first, else the one at its place."""
    alike: dict[bytes, deque[int]] = {}
    for at, item in enumerate(seen):
        alike.setdefault(_key(item), deque()).append(at)
    found: list[int | None] = [None] * len(new)
    taken: set[int] = set()
    for at, item in enumerate(new):
        same = alike.get(_key(item))
        if same:
            origin = at if at in same else same[0]
            same.remove(origin)
            taken.add(origin)
            found[at] = origin
    for at in range(min(len(seen), len(new))):
        if found[at] is None and at not in taken:
            found[at] = at
    return found


def _all_there(seen: Sequence[Any], new: Any) -> bool:
    origins = _origins(seen, new) if isinstance(new, list) else []
    return {at for at in origins if at is not None} == set(range(len(seen)))


def _same(one: Any, other: Any) -> bool:
    """Alike to the digit: `1.5` written as `1.50` is a change."""
    return _key(one) == _key(other)


def _meta(old: Mapping[str, Any], seen: Mapping[str, Any], new: Any) -> _Object:
    """The server sets version and time. Labels and profiles are added to, never taken away; the rest stays."""
    if not isinstance(new, dict):
        raise NotWritable("meta")
    for name, value in new.items():
        if name in _SERVERS or name in _STICKY or (name in seen and _same(value, seen[name])):
            continue
        if name != "tag" or not isinstance(value, list) or any(item not in _MARKS for item in value):
            raise NotWritable(f"meta.{name}"[:60])
    found = {name: value for name, value in old.items() if name not in _SERVERS}
    for name, kind in _STICKY.items():
        added = new.get(name, [])
        if not isinstance(added, list) or not all(isinstance(item, kind) for item in added):
            raise NotWritable(f"meta.{name}")
        all_of_them = [*found.get(name, ()), *_without_marks(added)]
        if all_of_them:
            found[name] = list({_key(item): item for item in all_of_them}.values())
    return found


def _without_marks(items: Iterable[Any]) -> list[Any]:
    return [item for item in items if item not in _MARKS]
