"""Reads a FHIR R4 Consent (JSON, decoded) into a `ConsentRule`. Shapes only; what it means is `policies`' business.

FHIR R4 §6.2 Consent; docs/consent-semantics.md. Whatever isn't understood (a modifier extension, a code outside the
bound value set, a malformed date) is recorded at its place and makes that place deny. Nothing here raises.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from policies.codes import (
    ACT_CODE_SYSTEM,
    CONSENT_ACTION_SYSTEM,
    DATA_CATEGORY_SYSTEM,
    PARTICIPATION_SYSTEM,
    RESOURCE_TYPES_SYSTEM,
    SYSTEM_ALIASES,
)
from policies.consent_rule import ConsentRule, Period, Provision
from policies.model import Coding

_MAX_DEPTH: Final = 16
_MAX_PROVISIONS: Final = 10_000
_KNOWN: Final = frozenset(
    {
        *("id", "extension", "type", "period", "actor", "action", "securityLabel", "purpose", "class"),
        *("code", "dataPeriod", "data", "provision"),
    }
)
_ACTIONS: Final = frozenset({"collect", "access", "use", "disclose", "correct"})
_MEANINGS: Final = frozenset({"instance", "related", "dependents", "authoredby"})
_GRANTEE_ROLES: Final = frozenset({"IRCP"})
_POLICY_RULES: Final = {"OPTIN": True, "OPTINR": True, "OPTOUT": False, "OPTOUTE": False}
_RULE_SYSTEMS: Final = frozenset({"", ACT_CODE_SYSTEM})
_ROOT: Final = "provision"


def read_consent(resource: Mapping[str, object]) -> ConsentRule:
    """Compile one R4 Consent. The result always exists; what is broken in it denies."""
    problems: list[str] = []
    if resource.get("modifierExtension"):
        problems.append("modifierExtension")
    if resource.get("implicitRules") is not None:
        problems.append("implicitRules")
    version = _dict(resource.get("meta")).get("versionId", "")
    consent_id = str(resource.get("id", ""))
    reader = _Reader()
    root = reader.provision(_dict(resource.get("provision")), _ROOT, 0, base=_base_rule(resource))
    return ConsentRule(
        reference=f"Consent/{consent_id}/_history/{version}",
        id=consent_id,
        active=resource.get("status") == "active",
        patient=_patient_id(resource.get("patient")),
        root=root,
        not_understood=tuple(problems),
    )


def _base_rule(resource: Mapping[str, object]) -> bool | None:
    """R4 without a root `provision.type`: OPTIN permits, OPTOUT denies, any other rule isn't understood.

    A code of another system is another rule; of two that contradict each other the one that denies counts.
    """
    ours = [c for c in _codings(resource.get("policyRule")) if SYSTEM_ALIASES.get(c.system, c.system) in _RULE_SYSTEMS]
    found = {_POLICY_RULES[coding.code] for coding in ours if coding.code in _POLICY_RULES}
    return found == {True} if found else None


class _Reader:
    def __init__(self) -> None:
        self._seen = 0

    def provision(self, item: Mapping[str, object], path: str, depth: int, *, base: bool | None) -> Provision:
        self._seen += 1
        problems = [f"{path}.{name}" for name in item if name not in _KNOWN and not name.startswith("_")]
        if self._seen > _MAX_PROVISIONS or depth > _MAX_DEPTH:
            return Provision(path, None, not_understood=(f"{path}: too many or too deep",))
        permit = {"permit": True, "deny": False}.get(str(item.get("type", "")), base if "type" not in item else None)
        if permit is None:
            problems.append(f"{path}.type")
        period = _period(item.get("period"), f"{path}.period", problems)
        data_period = item.get("dataPeriod")
        return Provision(
            path=path,
            permit=permit,
            period=period,
            actors=_actors(item.get("actor"), f"{path}.actor", problems),
            actions=_actions(item.get("action"), f"{path}.action", problems),
            labels=_bound(item.get("securityLabel"), f"{path}.securityLabel", problems),
            purposes=_bound(item.get("purpose"), f"{path}.purpose", problems),
            classes=_classes(item.get("class"), f"{path}.class", problems),
            codes=_codes(item.get("code"), f"{path}.code", problems),
            data_period=None if data_period is None else _period(data_period, f"{path}.dataPeriod", problems),
            data=_data(item.get("data"), f"{path}.data", problems),
            provisions=tuple(
                self.provision(_dict(nested), f"{path}.provision[{i}]", depth + 1, base=None)
                for i, nested in enumerate(_items(item.get("provision"), f"{path}.provision", problems))
            ),
            not_understood=tuple(problems),
        )


def _actors(value: object, path: str, problems: list[str]) -> tuple[str, ...]:
    """Grantees. An actor in another role doesn't grant to anyone, so it can't be skipped: it isn't understood."""
    found: list[str] = []
    for i, actor in enumerate(_items(value, path, problems)):
        roles = _codings(_dict(actor).get("role"))
        if not any(r.code in _GRANTEE_ROLES and r.system in ("", PARTICIPATION_SYSTEM) for r in roles):
            problems.append(f"{path}[{i}].role")
        name = reference_name(_dict(actor).get("reference"))
        if name is None:
            problems.append(f"{path}[{i}].reference")
        else:
            found.append(name)
    return tuple(found)


def reference_name(value: object) -> str | None:
    """`Type/id` of a literal reference, else `system|value` of its identifier, else None."""
    reference = _dict(value)
    identifier = _dict(reference.get("identifier"))
    if isinstance(identifier.get("value"), str):
        return f"{identifier.get('system', '')}|{identifier['value']}"
    literal = reference.get("reference")
    return literal if isinstance(literal, str) and literal else None


def _actions(value: object, path: str, problems: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    for i, concept in enumerate(_items(value, path, problems)):
        codes = [c.code for c in _codings(concept) if c.system in ("", CONSENT_ACTION_SYSTEM) and c.code in _ACTIONS]
        if not codes:
            problems.append(f"{path}[{i}]")
        found.extend(codes)
    return tuple(found)


def _bound(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    found = []
    for i, item in enumerate(_items(value, path, problems)):
        coding = _coding(item)
        if coding is None or not coding.system:
            problems.append(f"{path}[{i}]")
        else:
            found.append(coding)
    return tuple(found)


def _classes(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    """Resource types, profiles (a canonical URL as code), data categories; anything else isn't understood."""
    found = _bound(value, path, problems)
    for i, coding in enumerate(found):
        profile = coding.code.startswith(("http://", "https://"))
        if coding.system not in (RESOURCE_TYPES_SYSTEM, DATA_CATEGORY_SYSTEM) and not profile:
            problems.append(f"{path}[{i}]")
    return found


def _codes(value: object, path: str, problems: list[str]) -> tuple[Coding, ...]:
    found: list[Coding] = []
    for i, concept in enumerate(_items(value, path, problems)):
        codings = [c for c in _codings(concept) if c.system]
        if not codings:
            problems.append(f"{path}[{i}]")
        found.extend(codings)
    return tuple(found)


def _data(value: object, path: str, problems: list[str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for i, item in enumerate(_items(value, path, problems)):
        meaning = str(_dict(item).get("meaning", ""))
        reference = _dict(_dict(item).get("reference")).get("reference")
        if meaning not in _MEANINGS or not isinstance(reference, str):
            problems.append(f"{path}[{i}]")
        else:
            found.append((meaning, reference))
    return tuple(found)


def _period(value: object, path: str, problems: list[str]) -> Period:
    if value is None:
        return Period()
    item = _dict(value)
    start, end = item.get("start"), item.get("end")
    bounds = (
        None if start is None else instant_of(start, end=False),
        None if end is None else instant_of(end, end=True),
    )
    broken = (start is not None and bounds[0] is None) or (end is not None and bounds[1] is None)
    if broken or (not item) or (bounds[0] and bounds[1] and bounds[0] > bounds[1]):
        problems.append(path)
    return Period(*bounds)


def instant_of(value: object, *, end: bool) -> datetime | None:
    """First (or, for `end`, last) instant that a FHIR date/dateTime covers, in UTC; None when malformed.

    FHIR R4 datatypes, Period: an end of `2012-02-03` covers that whole day. A value without a time zone is UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        if len(value) == 4:
            year = int(value)
            day = date(year, 12, 31) if end else date(year, 1, 1)
        elif len(value) == 7:
            year, month = int(value[:4]), int(value[5:])
            day = date(year, month, calendar.monthrange(year, month)[1] if end else 1)
        elif len(value) == 10:
            day = date.fromisoformat(value)
        else:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            covers_second = end and "." not in value
            return moment.astimezone(UTC) + (timedelta(microseconds=999_999) if covers_second else timedelta())
    except (ValueError, OverflowError):
        return None
    return datetime.combine(day, time.max if end else time.min, tzinfo=UTC)


def _patient_id(value: object) -> str:
    literal = _dict(value).get("reference")
    if not isinstance(literal, str):
        return ""
    kind, _, patient_id = literal.partition("/")
    return patient_id if kind == "Patient" and "/" not in patient_id else ""


def _codings(concept: object) -> list[Coding]:
    return [c for item in _list(_dict(concept).get("coding")) if (c := _coding(item)) is not None]


def _coding(value: object) -> Coding | None:
    item = _dict(value)
    code, system = item.get("code"), item.get("system", "")
    return Coding(system, code) if isinstance(code, str) and isinstance(system, str) else None


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object, path: str, problems: list[str]) -> list[object]:
    """The items of a repeating element. INVARIANT: a malformed one is never taken for an absent, unconstrained one."""
    if value is None:
        return []
    if not isinstance(value, list) or not value:
        problems.append(path)
        return []
    if any(isinstance(item, dict) and "modifierExtension" in item for item in value):
        problems.append(f"{path}.modifierExtension")
    return value


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
