"""The datatypes in a Consent, read strictly: what isn't understood is recorded, never taken for absent.

Each function takes the decoded JSON value, its path and a list that collects the paths of what wasn't understood.
Nothing here raises, whatever is handed in. FHIR R4 §2.24 (Period, Coding, CodeableConcept, Reference, Identifier).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fhir.r4.instants import instant_of
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES
from policies.codes import (
    ACT_REASON_SYSTEM,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_ACTION_SYSTEM,
    DATA_CATEGORY_SYSTEM,
    PARTICIPATION_SYSTEM,
    RESOURCE_TYPES_SYSTEM,
)
from policies.consent_rule import Period
from policies.memberships import is_identifier
from policies.model import Coding
from policies.purpose_of_use import PURPOSES_OF_USE
from policies.security_labels import LEVELS
from policies.system_names import usual_system

_ELEMENT: Final = frozenset({"id", "extension"})
_PERIOD: Final = _ELEMENT | {"start", "end"}
_CODING: Final = _ELEMENT | {"system", "version", "code", "display", "userSelected"}
_CONCEPT: Final = _ELEMENT | {"coding", "text"}
_REFERENCE: Final = _ELEMENT | {"reference", "type", "identifier", "display"}
_IDENTIFIER: Final = _ELEMENT | {"use", "type", "system", "value", "period", "assigner"}
_ACTOR: Final = _ELEMENT | {"role", "reference"}
_DATA: Final = _ELEMENT | {"meaning", "reference"}

_ACTIONS: Final = frozenset({"collect", "access", "use", "disclose", "correct"})
_MEANINGS: Final = frozenset({"instance", "related", "dependents", "authoredby"})
_GRANTEE: Final = frozenset({Coding("", "IRCP"), Coding(PARTICIPATION_SYSTEM, "IRCP")})
IN_USE: Final = ("usual", "official", "secondary")
"""`Identifier.use` of one that still counts."""
_TYPES: Final = RESOURCE_TYPE_NAMES | {"Resource", "DomainResource"}
_FHIR_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}", re.ASCII)
_MAX_REFERENCE: Final = 2_000


def check_members(item: Mapping[str, object], names: frozenset[str], path: str, problems: list[str]) -> None:
    """Record members that aren't among `names`, nulls, and a primitive of which there is only the `_` half."""
    if not names.issuperset(item):
        problems.extend(
            f"{path}.{n[:64]}".lstrip(".") for n in item if n not in names and not _goes_with(n, item, names)
        )
    if any(value is None for value in item.values()):
        problems.append(f"{path}: null")


def _goes_with(name: str, item: Mapping[str, object], names: frozenset[str]) -> bool:
    """FHIR R4 §2.6.2: `_name` holds id and extensions of the primitive `name`."""
    half = item[name]
    whole = name[1:] in names and name[1:] in item and name.startswith("_")
    return whole and not (isinstance(half, dict) and not _ELEMENT.issuperset(half))


def members(value: object, names: frozenset[str], path: str, problems: list[str]) -> Mapping[str, object]:
    """An object, its members checked. FHIR knows no empty one."""
    if not isinstance(value, dict) or not value:
        problems.append(path)
        return {}
    check_members(value, names, path, problems)
    return value


def items(value: object, path: str, problems: list[str]) -> list[object]:
    """The items of a repeating element; none when it is absent (None). FHIR knows no empty list."""
    if value is None:
        return []
    if not isinstance(value, list) or not value:
        problems.append(path)
        return []
    return value


def text(value: object) -> str:
    """A string; anything else is the empty one."""
    return value if isinstance(value, str) else ""


def coding(value: object, path: str, problems: list[str]) -> Coding | None:
    """A Coding under its system's usual name; None, and recorded, when it has no code."""
    item = members(value, _CODING, path, problems)
    code, system = item.get("code"), item.get("system", "")
    if not isinstance(code, str) or not isinstance(system, str) or not code.strip():
        if item:
            problems.append(path)
        return None
    return Coding(usual_system(system), code.strip())


def codings(value: object, path: str, problems: list[str]) -> list[Coding]:
    """Codings of a repeating Coding element."""
    found = [coding(item, f"{path}[{i}]", problems) for i, item in enumerate(items(value, path, problems))]
    return [c for c in found if c is not None]


def concept(value: object, path: str, problems: list[str]) -> list[Coding]:
    """Codings of a CodeableConcept; one that has text only isn't understood."""
    item = members(value, _CONCEPT, path, problems)
    if item and "coding" not in item:
        problems.append(f"{path}.coding")
    return codings(item.get("coding"), f"{path}.coding", problems)


def read_actors(value: object, path: str, problems: list[str], *, permit: bool) -> tuple[str, ...]:
    """Names of the grantees. An actor in another role than recipient (IRCP) can't be skipped: it isn't understood."""
    found: list[str] = []
    for i, actor in enumerate(items(value, path, problems)):
        where = f"{path}[{i}]"
        item = members(actor, _ACTOR, where, problems)
        if _GRANTEE.isdisjoint(concept(item.get("role"), f"{where}.role", problems)):
            problems.append(f"{where}.role")
        found += names_of(item.get("reference"), f"{where}.reference", problems, permit=permit)
    return tuple(found)


def names_of(value: object, path: str, problems: list[str], *, permit: bool) -> tuple[str, ...]:
    """Names that a Reference gives: `system|value` of its identifier, and its literal as `reference_names` says."""
    item = members(value, _REFERENCE, path, problems)
    found: tuple[str, ...] = ()
    if "identifier" in item:
        identifier = members(item["identifier"], _IDENTIFIER, f"{path}.identifier", problems)
        system, told = text(identifier.get("system")), text(identifier.get("value"))
        if not system or not told or identifier.get("use", "usual") not in IN_USE:
            problems.append(f"{path}.identifier")
        found = (f"{system}|{told}",)
    if "reference" in item or not found:
        literal = reference_names(item.get("reference"), permit=permit)
        if not literal:
            problems.append(f"{path}.reference")
        # A permit goes by the literal: an identifier beside it only repeats whom it names, or names somebody else.
        found = literal if permit and literal and all(map(is_identifier, found)) else (*found, *literal)
    return found


def reference_names(literal: object, *, permit: bool) -> tuple[str, ...]:
    """`Type/id` of a literal reference; empty when it names no resource.

    One to a version or to another server stands as it is, so that a permit of it opens nothing else. For a deny it
    counts as the `Type/id` at its end besides: what it means may be known here under that name.
    """
    if not isinstance(literal, str) or len(literal) > _MAX_REFERENCE:
        return ()
    parts = literal.partition("/_history/")[0].rsplit("/", 2)
    if len(parts) < 2 or parts[-2] not in RESOURCE_TYPE_NAMES or not _FHIR_ID.fullmatch(parts[-1]):
        return ()
    name = f"{parts[-2]}/{parts[-1]}"
    return (literal,) if permit or literal == name else (literal, name)


def read_actions(value: object, path: str, problems: list[str]) -> tuple[str, ...]:
    """Codes of consentaction (no system counts as that one)."""
    found: list[str] = []
    for i, item in enumerate(items(value, path, problems)):
        told = concept(item, f"{path}[{i}]", problems)
        known = [c.code for c in told if c.system in ("", CONSENT_ACTION_SYSTEM) and c.code in _ACTIONS]
        if not known:
            problems.append(f"{path}[{i}]")
        found += known
    return tuple(found)


def read_labels(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    """Security labels; a confidentiality that v3-Confidentiality doesn't have isn't understood."""
    found = codings(value, path, problems)
    if any(not c.system or (c.system == CONFIDENTIALITY_SYSTEM and c.code not in LEVELS) for c in found):
        problems.append(path)
    return tuple(found)


def read_purposes(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    """Purposes of use; a v3-ActReason that is no purpose of use isn't understood."""
    found = codings(value, path, problems)
    if any(not c.system or (c.system == ACT_REASON_SYSTEM and c.code not in PURPOSES_OF_USE) for c in found):
        problems.append(path)
    return tuple(found)


def read_classes(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    """Resource types, data categories, profiles (a canonical URL as code); anything else isn't understood."""
    found = codings(value, path, problems)
    for i, (system, code) in enumerate(found):
        if system == RESOURCE_TYPES_SYSTEM:
            understood = code in _TYPES
        else:
            understood = system == DATA_CATEGORY_SYSTEM or code.startswith(("http://", "https://"))
        if not understood:
            problems.append(f"{path}[{i}]")
    return tuple(found)


def read_codes(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    """Codes of the content, system and code both."""
    found: list[Coding] = []
    for i, item in enumerate(items(value, path, problems)):
        found += concept(item, f"{path}[{i}]", problems)
    if not all(c.system for c in found):
        problems.append(path)
    return tuple(found)


def read_data(value: object, path: str, problems: list[str], *, permit: bool) -> tuple[tuple[str, str], ...]:
    """(meaning, reference) pairs."""
    found: list[tuple[str, str]] = []
    for i, part in enumerate(items(value, path, problems)):
        item = members(part, _DATA, f"{path}[{i}]", problems)
        meaning = text(item.get("meaning"))
        reference = members(item.get("reference"), _REFERENCE, f"{path}[{i}].reference", problems)
        names = reference_names(reference.get("reference"), permit=permit)
        if meaning not in _MEANINGS or not names:
            problems.append(f"{path}[{i}]")
        found += [(meaning, name) for name in names]
    return tuple(found)


def read_period(value: object, path: str, problems: list[str]) -> Period:
    """A Period with at least one bound. One that isn't understood has none: what it is about must not end by it."""
    before = len(problems)
    item = members(value, _PERIOD, path, problems)
    start, end = item.get("start"), item.get("end")
    low = None if start is None else instant_of(start, end=False)
    high = None if end is None else instant_of(end, end=True)
    broken = (start is not None and low is None) or (end is not None and high is None)
    if broken or (start is None and end is None) or (low is not None and high is not None and low > high):
        problems.append(path)
    return Period(low, high) if len(problems) == before else Period()
