"""Minimizes a resource without parsing what is kept: kept members stay the upstream's own bytes.

docs/architecture.md, "Minimizing without parsing". `msgspec` splits an object into its members as raw slices; only
where a rule must look inside (references, extensions, meta) does it go deeper. Number text, order and unknown parts
of kept elements stay. FHIR R4 §3.4 (subsetted), data-absent-reason `masked`.
INVARIANT: a member that no rule keeps is not in the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import msgspec

from fhir.minimization.kept_parts import TELLING, is_type, may_tell, tells_of_others
from fhir.minimization.mask_plan import Beside, Extensions, MaskNode, Treatment
from fhir.minimization.members import Member, Members
from fhir.minimization.shapes import Holds, raw_holds
from policies.codes import DATA_ABSENT_REASON_URL, OBSERVATION_VALUE_SYSTEM

_MASKED: Final = msgspec.Raw(f'{{"extension":[{{"url":"{DATA_ABSENT_REASON_URL}","valueCode":"masked"}}]}}')
_SUBSETTED: Final = msgspec.Raw(f'{{"system":"{OBSERVATION_VALUE_SYSTEM}","code":"SUBSETTED"}}')
_REDACTED: Final = msgspec.Raw(f'{{"system":"{OBSERVATION_VALUE_SYSTEM}","code":"REDACTED"}}')
_META: Final = frozenset({"versionId", "lastUpdated", "profile"})
_LABEL: Final = MaskNode(dict.fromkeys(("system", "version", "code", "display", "userSelected"), "plain"))
_NULL: Final = msgspec.Raw(b"null")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class NotMinimizable(ValueError):
    """The content isn't shaped as FHIR shapes it, or can't be left out in part; nothing of it may be sent.

    Never carries content.
    """


@dataclass(frozen=True, slots=True)
class MinimizeRules:
    """What the whole catalogue says, whatever the type."""

    mask_for: Callable[[str], MaskNode | None]
    """The mask of a resource type under the purpose in force; None when nothing of it may be seen."""
    contained: frozenset[str]
    named_references: frozenset[str]
    relative: Callable[[str], str | None]
    """A literal reference as `Type/id` when it points into the upstream, else None."""
    unnamed: frozenset[str] = frozenset()
    """References of those types that lose their `display` all the same: what they lead to is withheld by name."""

    def may_name(self, target: str) -> bool:
        """Whether the `display` of a reference (`Type/id`) may stay."""
        return target.partition("/")[0] in self.named_references and target not in self.unnamed


def minimize(resource: bytes | msgspec.Raw | Members, node: MaskNode, rules: MinimizeRules) -> bytes:
    """The resource as this reader may see it. Raises NotMinimizable.

    Members that were split already bring what is known of them and keep what becomes known: under one set of rules.
    """
    try:
        members = resource if isinstance(resource, Mapping) else _members(resource)
        return _encode(_Pass(rules).resource(members, node, split=members is resource))
    except (msgspec.DecodeError, RecursionError, TypeError) as broken:
        raise NotMinimizable("content is not shaped as FHIR JSON") from broken


class _Pass:
    """One resource on its way through.

    What is kept goes as raw slices into the dict that is encoded at the end, and comes out as it was.
    """

    def __init__(self, rules: MinimizeRules) -> None:
        self._rules = rules
        self._contained: dict[str, object] = {}
        self._changed = False

    def resource(self, members: Members, node: MaskNode, *, split: bool) -> dict[str, object]:
        if "contained" in members:  # whatever refers to them may stand before them
            self._contained = self._contained_resources(_raw(members["contained"]))
        kept = self._kept(members, node, split=split)
        header = self._meta(_raw(members["meta"]) if "meta" in members else None)
        if not header:  # FHIR R4 JSON: no empty objects
            return kept
        pairs = list(kept.items())
        pairs.insert(2, ("meta", header))
        return dict(pairs)

    def _kept(self, members: Members, node: MaskNode, *, split: bool = False) -> dict[str, object]:
        """What stays of an object's members, in their order, then what stands for those that R4 requires.

        `split`: they come from a `MemberReader`.
        """
        treatments = node.members
        kept: dict[str, object] = {}
        for name, value in members.items():
            treatment = treatments.get(name)
            if treatment == "plain":
                # What is left raw beside split members is a string, a number or the like.
                kept[name] = value if split and type(value) is msgspec.Raw else _held(value, "plain")
            elif treatment == "keep" or treatment == "own":
                raw = _held(value, "objects")
                plain = type(value) is Member and not value.telling
                kept[name] = raw if plain else self._whole(name, raw, own=treatment == "own")
            elif treatment is None and node.open:
                kept[name] = self._whole(name, value)
            elif treatment is None:
                self._changed = True
                if name in node.stand_ins:
                    kept[name] = msgspec.Raw(node.stand_ins[name])
            elif treatment == "meta":
                continue  # comes last: it says whether anything was taken away
            elif type(treatment) is Beside:
                found = _with_reason(self._form(value, treatment), _raw(value), members.get(name[1:]))
                if found is not None:
                    kept[name] = found
            elif (inside := self._form(value, treatment)) is not None:
                kept[name] = inside
        if node.replacements:
            self._changed = True
            kept.update((name, msgspec.Raw(value)) for name, value in node.replacements.items())
        return kept

    def _whole(self, name: str, value: Member | msgspec.Raw, *, own: bool = False) -> msgspec.Raw:
        """A member that stays as it is. Raises NotMinimizable for one in which others are named.

        `own`: of a type that Assent writes, whose references stay too.
        """
        raw, rules = _raw(value), self._rules
        looked_into = name in TELLING or may_tell(bytes(raw))
        if looked_into and tells_of_others(name, raw, rules.relative, rules.may_name, own=own):
            raise NotMinimizable("an element that is kept tells of others")
        return raw

    def _form(self, value: Member | msgspec.Raw, treatment: MaskNode | Treatment) -> object:
        """As `_inside`, remembered with the member unless it hangs on other members too."""
        if not isinstance(value, Member):
            return self._inside(value, treatment)
        if treatment == "contained" or self._contained:
            return self._inside(value.raw, treatment)
        known = value.forms.get(treatment)
        if known is None:
            before, self._changed = self._changed, False
            inside = self._inside(value.raw, treatment)
            known = None if inside is None else msgspec.Raw(_encode(inside)), self._changed
            self._changed = before
            value.forms[treatment] = known
        self._changed = self._changed or known[1]
        return known[0]

    def _inside(self, value: msgspec.Raw, treatment: MaskNode | Treatment) -> object:
        """What stays of a member whose inside matters; None for nothing."""
        if isinstance(treatment, Extensions):
            return self._extensions(value, treatment)
        if isinstance(treatment, Beside):
            return self._beside(value, treatment.extensions)
        if treatment == "contained":
            return list(self._contained.values()) or None
        if isinstance(treatment, MaskNode):
            if _is_list(value):
                return [self._object(item, treatment) for item in _items(value)]
            return self._object(value, treatment)
        if treatment != "reference":
            raise NotMinimizable("an element that is kept in part has a modifier extension")
        return [self._reference(item) for item in _items(value)] if _is_list(value) else self._reference(value)

    def _object(self, raw: msgspec.Raw, node: MaskNode) -> object:
        return self._kept(_members(raw), node) or _MASKED  # FHIR R4 JSON: no empty objects

    def _reference(self, raw: msgspec.Raw) -> object:
        """`reference` and R4's `type` stay; `display` only for providers and places; `identifier` never (L32, L34)."""
        members = _members(raw)
        literal = _string(members["reference"]) if "reference" in members else ""
        if literal.startswith("#"):
            if literal[1:] in self._contained:
                return {"reference": members["reference"]}
            self._changed = True
            return _MASKED
        target = self._rules.relative(literal)
        if target is None:
            # Elsewhere, or nothing but a name or an identifier: whom it means can't be checked.
            self._changed = True
            return _MASKED
        kept: dict[str, object] = {"reference": target}
        named = self._rules.may_name(target)
        for name, value in members.items():
            if (name == "type" and is_type(_string(value))) or (named and name == "display"):
                kept[name] = _held(value, "plain")
            elif name != "reference":
                self._changed = True
        return kept

    def _extensions(self, raw: msgspec.Raw, allowed: Extensions) -> list[object] | None:
        items = _items(raw)
        kept = [self._extension(item, allowed) for item in items if allowed.allow(_url(item))]
        self._changed = self._changed or len(kept) < len(items)
        return kept or None

    def _extension(self, raw: msgspec.Raw, allowed: Extensions) -> object:
        return self._whole("extension", raw) if allowed.inside is None else self._object(raw, allowed.inside)

    def _beside(self, raw: msgspec.Raw, allowed: Extensions) -> object:
        """What stays beside a primitive; for a list, at the places where the primitives stand."""
        if _is_list(raw):
            found = [None if item == _NULL else self._beside(item, allowed) for item in _items(raw)]
            return found if any(item is not None for item in found) else None
        members = _members(raw)
        kept = self._extensions(members["extension"], allowed) if "extension" in members else None
        self._changed = self._changed or len(members) > 1 or "extension" not in members
        return kept and {"extension": kept}

    def _contained_resources(self, raw: msgspec.Raw) -> dict[str, object]:
        """Contained products and providers by id, each under its own mask; anything else goes (L31)."""
        kept: dict[str, object] = {}
        for item in _items(raw):
            members = _members(item)
            resource_type = _string(members["resourceType"]) if "resourceType" in members else ""
            node = self._rules.mask_for(resource_type) if resource_type in self._rules.contained else None
            if node is None or "id" not in members or "contained" in members:
                self._changed = True
                continue
            inner = _Pass(self._rules)
            kept[_string(members["id"])] = inner.contained(item, node)
            self._changed = self._changed or inner._changed
        return kept

    def contained(self, raw: msgspec.Raw, node: MaskNode) -> object:
        """A contained resource has no meta of its own worth keeping (FHIR R4 dom-4, dom-5)."""
        members = dict(node.members)
        members.pop("meta")
        members.pop("contained")
        return self._object(raw, MaskNode(members, replacements=node.replacements))

    def _meta(self, raw: msgspec.Raw | None) -> dict[str, object]:
        members = {} if raw is None else _members(raw)
        labels = _items(members.pop("security")) if "security" in members else []
        kept: dict[str, object] = {}
        for name, value in members.items():
            if name in _META:
                kept[name] = _held(value, "plain")
            else:
                self._changed = True
        said: list[object] = [self._kept(_members(label), _LABEL) for label in labels]
        if self._changed:
            said.append(_REDACTED)
            kept["tag"] = [_SUBSETTED]
        if said:
            kept["security"] = said
        return kept


def _raw(value: Member | msgspec.Raw) -> msgspec.Raw:
    return value.raw if isinstance(value, Member) else value


def _held(value: Member | msgspec.Raw, holds: Holds) -> msgspec.Raw:
    """The member, which must hold what R4 has there. Raises NotMinimizable."""
    found = value.holds if isinstance(value, Member) else raw_holds(value)
    if found != holds and found != "nothing":
        raise NotMinimizable("an element isn't of the kind that R4 has there")
    return _raw(value)


def _with_reason(kept: object, was: msgspec.Raw, value: Member | msgspec.Raw | None) -> object:
    """What is kept beside a primitive. Where there was no value, an extension that went leaves why there is nothing.

    R4 may require the element, and a null in a list holds the place of one that has extensions (FHIR R4 §2.6.2.2).
    """
    if value is not None and b"null" not in bytes(_raw(value)):
        return kept
    if not _is_list(was):
        return kept or _MASKED
    values = [] if value is None else _items(_raw(value))
    left = [] if kept is None else _items(_encode(kept))
    places = zip_longest(_items(was), left, values, fillvalue=_NULL)
    found = [_MASKED if one == here == _NULL != before else here for before, here, one in places]
    return found if any(item != _NULL for item in found) else None


def _is_list(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["


def _url(raw: msgspec.Raw) -> str:
    members = _members(raw)
    return _string(members["url"]) if "url" in members else ""
