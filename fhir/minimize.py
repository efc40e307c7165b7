"""Minimizes a resource without parsing what is kept: kept members stay the upstream's own bytes.

docs/architecture.md, "Minimizing without parsing". `msgspec` splits an object into its members as raw slices; only
where a rule must look inside (references, extensions, meta) does it go deeper. Number text, order and unknown parts
of kept elements stay. FHIR R4 §3.4 (subsetted), data-absent-reason `masked`.
INVARIANT: a member that no rule keeps is not in the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from fhir.mask_plan import MaskNode, Treatment
from policies.codes import DATA_ABSENT_REASON_URL, OBSERVATION_VALUE_SYSTEM

_MASKED: Final = f'{{"extension":[{{"url":"{DATA_ABSENT_REASON_URL}","valueCode":"masked"}}]}}'.encode()
_SUBSETTED: Final = f'{{"system":"{OBSERVATION_VALUE_SYSTEM}","code":"SUBSETTED"}}'.encode()
_REDACTED: Final = f'{{"system":"{OBSERVATION_VALUE_SYSTEM}","code":"REDACTED"}}'.encode()
_META: Final = frozenset({"versionId", "lastUpdated", "profile", "security"})

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
    extensions: frozenset[str]
    contained: frozenset[str]
    named_references: frozenset[str]
    relative: Callable[[str], str | None]
    """A literal reference as `Type/id` when it points into the upstream, else None."""


def minimize(resource: bytes | msgspec.Raw, node: MaskNode, rules: MinimizeRules) -> bytes:
    """The resource as this reader may see it. Raises NotMinimizable."""
    try:
        return _Pass(rules).resource(resource, node)
    except (msgspec.DecodeError, RecursionError, TypeError) as broken:
        raise NotMinimizable("content is not shaped as FHIR JSON") from broken


class _Pass:
    """One resource on its way through."""

    def __init__(self, rules: MinimizeRules) -> None:
        self._rules = rules
        self._contained: set[str] = set()
        self._changed = False

    def resource(self, raw: bytes | msgspec.Raw, node: MaskNode) -> bytes:
        members = _members(raw)
        kept = {} if "contained" not in members else self._contained_resources(members["contained"])
        meta = members.pop("meta", None)
        parts: list[bytes] = []
        treatments = node.members
        for name, value in members.items():
            if treatments.get(name) == "keep":
                parts.append(_named(name) + bytes(value))
            elif name == "contained":
                if kept:
                    parts.append(b'"contained":[' + b",".join(kept.values()) + b"]")
            elif (part := self._member(name, value, node)) is not None:
                parts.append(_named(name) + part)
        parts.extend(self._replaced(node))
        header = self._meta(meta)
        if header != b"{}":  # FHIR R4 JSON: no empty objects
            parts.insert(min(2, len(parts)), b'"meta":' + header)
        return b"{" + b",".join(parts) + b"}"

    def _object(self, raw: bytes | msgspec.Raw, node: MaskNode) -> bytes:
        parts = [
            _encode(name) + b":" + part
            for name, value in _members(raw).items()
            if (part := self._member(name, value, node)) is not None
        ]
        parts += self._replaced(node)
        return b"{" + b",".join(parts) + b"}" if parts else _MASKED  # FHIR R4 JSON: no empty objects

    def _replaced(self, node: MaskNode) -> list[bytes]:
        if node.replacements:
            self._changed = True
        return [b'"' + name.encode() + b'":' + value for name, value in node.replacements.items()]

    def _member(self, name: str, value: msgspec.Raw, node: MaskNode) -> bytes | None:
        treatment = node.members.get(name)
        if treatment is None:
            if node.open:
                return bytes(value)
            self._changed = True
            return None
        if treatment == "keep":
            return bytes(value)
        if treatment == "refused":
            raise NotMinimizable("an element that is kept in part has a modifier extension")
        return self._inside(value, treatment)

    def _inside(self, value: msgspec.Raw, treatment: MaskNode | Treatment) -> bytes | None:
        if treatment == "extensions":
            return self._extensions(value)
        one: Callable[[msgspec.Raw], bytes] = (
            self._reference if treatment == "reference" else lambda raw: self._object(raw, treatment)  # type: ignore[arg-type]  # the other treatments end above
        )
        if bytes(value)[:1] == b"[":
            return b"[" + b",".join(one(item) for item in _items(value)) + b"]"
        return one(value)

    def _reference(self, raw: msgspec.Raw) -> bytes:
        """`reference` and `type` stay; `display` only for providers and products; `identifier` never (L32, L34)."""
        members = _members(raw)
        literal = _string(members["reference"]) if "reference" in members else ""
        if literal.startswith("#"):
            if literal[1:] in self._contained:
                return b'{"reference":' + bytes(members["reference"]) + b"}"
            self._changed = True
            return _MASKED
        target = self._rules.relative(literal)
        if target is None:
            # Elsewhere, or nothing but a name or an identifier: whom it means can't be checked.
            self._changed = True
            return _MASKED
        parts = [b'"reference":' + _encode(target)]
        named = target.partition("/")[0] in self._rules.named_references
        for name, value in members.items():
            if name == "type" or (named and name == "display"):
                parts.append(_named(name) + bytes(value))
            elif name != "reference":
                self._changed = True
        return b"{" + b",".join(parts) + b"}"

    def _extensions(self, raw: msgspec.Raw) -> bytes | None:
        """Extensions of the resource itself: only those whose URL the catalogue names (L33)."""
        items = _items(raw)
        kept = [bytes(i) for i in items if _url(i) in self._rules.extensions]
        self._changed = self._changed or len(kept) < len(items)
        return b"[" + b",".join(kept) + b"]" if kept else None

    def _contained_resources(self, raw: msgspec.Raw) -> Mapping[str, bytes]:
        """Contained products and providers, each under its own mask; anything else goes (L31)."""
        kept: dict[str, bytes] = {}
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
        self._contained = set(kept)
        return kept

    def contained(self, raw: msgspec.Raw, node: MaskNode) -> bytes:
        """A contained resource has no meta of its own worth keeping (FHIR R4 dom-4, dom-5)."""
        members = dict(node.members)
        members.pop("meta")
        members.pop("contained")
        return self._object(raw, MaskNode(members, replacements=node.replacements))

    def _meta(self, raw: msgspec.Raw | None) -> bytes:
        members = {} if raw is None else _members(raw)
        parts: list[bytes] = []
        security = _items(members.pop("security")) if "security" in members else []
        for name, value in members.items():
            if name in _META:
                parts.append(_named(name) + bytes(value))
            else:
                self._changed = True
        labels = [bytes(item) for item in security]
        if self._changed:
            labels.append(_REDACTED)
            parts.append(b'"tag":[' + _SUBSETTED + b"]")
        if labels:
            parts.append(b'"security":[' + b",".join(labels) + b"]")
        return b"{" + b",".join(parts) + b"}"


@lru_cache(maxsize=2_000)
def _named(name: str) -> bytes:
    """The beginning of a member whose name a mask knows: these come again and again."""
    return _encode(name) + b":"


def _url(raw: msgspec.Raw) -> str:
    members = _members(raw)
    return _string(members["url"]) if "url" in members else ""
