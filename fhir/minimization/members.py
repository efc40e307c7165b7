"""A resource as its top-level members, each read once and remembered by its bytes.

Resources of one type differ in an id, a date and a value. Their codes, categories, subjects and performers come again
and again, across resources, patients and requests. What is kept follows from a member's own bytes, the catalogue and
a mask alone; what a resource is, and who may see it, is put together and decided anew each time. Bounded in bytes; the
member used least lately goes first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Container, Mapping
from typing import Final

import msgspec

from fhir.minimization.codings import MAX_DEPTH, TEXTS
from fhir.minimization.facts import NOTHING, FactsReader, MemberFacts
from fhir.minimization.kept_parts import may_tell
from fhir.minimization.mask_plan import MaskNode, Treatment
from fhir.minimization.seen_before import SeenBefore
from fhir.minimization.shapes import Holds, what_holds
from fhir.r4.strict_json import check_once, decode_value_once
from policies.model import ResourceFacts

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_MEMBER: Final = 2_048
"""Larger members are narratives and the like, of which no two are the same."""
_OVERHEAD: Final = 2_048
"""What a member's facts and forms take, about."""
_OPENING: Final = frozenset(b"{[")
_TELLING: Final = re.compile(rb'\\|"(?:code|reference|meta|url|valueString|' + "|".join(TEXTS).encode() + rb')"')
"""Without any of these a member has neither codes nor words; nor an escape, by which a name may be spelled."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder(object).decode
_encode: Final = msgspec.json.Encoder().encode


class Member:
    """A member that is an object or a list."""

    __slots__ = ("decoded", "facts", "forms", "holds", "raw", "telling")

    def __init__(self, raw: bytes, facts: MemberFacts, decoded: object, holds: Holds) -> None:
        self.raw: Final = msgspec.Raw(raw)
        self.facts: Final = facts
        self.decoded: Final = decoded
        """Its value, where facts are gathered from the whole of it, else None."""
        self.holds: Final = holds
        self.telling: Final = may_tell(raw)
        """Whether it must be looked into before it is kept as it is."""
        self.forms: dict[MaskNode | Treatment, tuple[object, bool]] = {}
        """How masks leave it, and whether they took anything away (`fhir.minimization.minimize`)."""


Members = Mapping[str, Member | msgspec.Raw]
"""The top-level members of a resource in their order; strings, numbers and the like are left raw."""


class MemberReader:
    """Splits resources. What it remembers is good for one catalogue and one set of upstream bases."""

    def __init__(self, facts: FactsReader, max_bytes: int = MAX_BYTES) -> None:
        self._facts = facts
        self._max = max_bytes
        self._weight = 0
        self._seen = SeenBefore()
        self._known: OrderedDict[tuple[str, str, bytes], Member] = OrderedDict()

    def read(self, resource: bytes) -> tuple[ResourceFacts, Members]:
        """The facts of a resource, and its members.

        Raises msgspec.DecodeError for what is no object or means more than one thing, RecursionError for the too deep.
        """
        found = _members(resource)
        compact = _encode(found) == resource
        if not compact:  # spaced, or a name stands twice and one of them was lost
            check_once(resource)
        kind = _value(found["resourceType"]) if "resourceType" in found else ""
        kind = kind if isinstance(kind, str) else ""
        members: dict[str, Member | msgspec.Raw] = {}
        outline: dict[str, object] = {}
        said: list[MemberFacts] = []
        looked_into, known = self._facts.looked_into(kind), self._known
        for name, raw in found.items():
            text = bytes(raw)
            if text[0] in _OPENING:
                key = kind, name, text
                member = known.get(key)
                if member is None:
                    member = self._member(key, looked_into, checked=not compact)
                else:
                    known.move_to_end(key)
                members[name], outline[name] = member, member.decoded
                if member.facts is not NOTHING:
                    said.append(member.facts)
            else:
                members[name] = raw
                outline[name] = value = _value(raw)
                if name in looked_into:
                    said.append(self._facts.of_member(kind, name, value))
        return self._facts.gather(kind, outline, said), members

    def _member(self, key: tuple[str, str, bytes], looked_into: Container[str], *, checked: bool) -> Member:
        """One that isn't remembered."""
        kind, name, text = key
        value = _value(text) if checked else decode_value_once(text)
        said = NOTHING if name not in looked_into and _is_plain(text) else self._facts.of_member(kind, name, value)
        member = Member(text, said, value if name in self._facts.whole else None, what_holds(value))
        if len(text) <= MAX_MEMBER and self._seen.again(hash(key)):
            self._known[key] = member
            self._weight += _OVERHEAD + len(text)
            while self._weight > self._max:
                (_, _, oldest), _ = self._known.popitem(last=False)
                self._weight -= _OVERHEAD + len(oldest)
        return member


def _is_plain(text: bytes) -> bool:
    """Whether an object or a list certainly says nothing by itself, as narratives and periods don't."""
    return not (
        _TELLING.search(text)
        or (b'"value"' in text and b'"system"' in text)
        or text.count(b"{") + text.count(b"[") >= MAX_DEPTH
    )
