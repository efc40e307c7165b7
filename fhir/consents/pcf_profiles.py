"""The profiles of IHE Privacy Consent on FHIR (PCF 1.1): what a Consent that claims one of them must hold to.

Only what goes beyond R4 and beyond what `fhir.consents.check` asks of every Consent. A profile that isn't known here is
no claim that could be checked, so it isn't refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from fhir.r4.operation_outcome import Issue

_BASE: Final = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consent"
BASIC: Final = f"{_BASE}Basic"
INTERMEDIATE: Final = f"{_BASE}Intermediate"
ADVANCED: Final = f"{_BASE}Advanced"

_Json = Mapping[str, object]
_PRIVACY: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_RELATED: Final = frozenset({"Encounter", "CarePlan", "EpisodeOfCare"})
_AUTHORS: Final = frozenset(
    {
        *("Practitioner", "PractitionerRole", "Organization", "Device", "Group", "CareTeam"),
        *("Patient", "RelatedPerson"),
    }
)
_POINTS_TO: Final = {"instance": None, "related": _RELATED, "authoredby": _AUTHORS}


def profile_issues(content: _Json) -> tuple[Issue, ...]:
    """What stands against the PCF profiles that the Consent claims in `meta.profile`."""
    meta = content.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    names = {str(name).partition("|")[0] for name in claimed} if isinstance(claimed, list) else set()
    found: list[Issue] = []
    for name in sorted(names & _RULES.keys()):
        found += _foundation(content, name)
        found += _RULES[name](_object(content.get("provision")), name)
    return tuple(dict.fromkeys(found))


def _foundation(content: _Json, profile: str) -> Iterator[Issue]:
    """What all three ask for (PCF 1.1, volume 3, §5.8)."""
    if _PRIVACY not in _codes(content.get("scope")):
        yield _issue("value", "must be `patient-privacy`", "scope", profile)
    for name in ("category", "dateTime", "performer", "organization", "provision"):
        if name not in content:
            yield _issue("required", "is missing", name, profile)
    if "sourceAttachment" not in content and "sourceReference" not in content:
        yield _issue("required", "is missing", "source", profile)
    for i, policy in enumerate(_list(content.get("policy"))):
        if "uri" not in policy:
            yield _issue("required", "is missing", f"policy[{i}].uri", profile)
    if "verification" in content:
        yield _issue("structure", "is not allowed", "verification", profile)
    root = _object(content.get("provision"))
    if "type" not in root:
        yield _issue("required", "is missing", "provision.type", profile)
    yield from _forbidden(root, ("action", "class", "code"), "provision", profile)
    for i, nested in enumerate(_list(root.get("provision"))):
        yield from _forbidden(nested, ("provision",), f"provision.provision[{i}]", profile)


def _basic(root: _Json, profile: str) -> Iterator[Issue]:
    # Its purposes are bound extensibly: any code may stand there, PCF's own example has one of research.
    yield from _forbidden(root, ("securityLabel", "dataPeriod", "data", "provision"), "provision", profile)


def _intermediate(root: _Json, profile: str) -> Iterator[Issue]:
    yield from _forbidden(root, ("securityLabel",), "provision", profile)
    yield from _data(root, "provision", profile)
    for i, nested in enumerate(_list(root.get("provision"))):
        yield from _data(nested, f"provision.provision[{i}]", profile)
        meanings = [str(item.get("meaning")) for item in _list(nested.get("data"))]
        if len(set(meanings)) < len(meanings):
            yield _issue("structure", "may have one of each meaning", f"provision.provision[{i}].data", profile)


_RULES: Final[Mapping[str, Callable[[_Json, str], Iterator[Issue]]]] = {
    BASIC: _basic,
    INTERMEDIATE: _intermediate,
    # Its labels are bound extensibly to a set that names the least of what must be understood.
    ADVANCED: lambda root, profile: iter(()),
}


def _data(provision: _Json, path: str, profile: str) -> Iterator[Issue]:
    for i, item in enumerate(_list(provision.get("data"))):
        meaning, where = str(item.get("meaning")), f"{path}.data[{i}]"
        if meaning not in _POINTS_TO:
            yield _issue("code-invalid", "must be `instance`, `related` or `authoredby`", f"{where}.meaning", profile)
            continue
        types, literal = _POINTS_TO[meaning], _object(item.get("reference")).get("reference")
        if types is not None and isinstance(literal, str) and _type_of(literal) not in types:
            text = f"must refer to one of {', '.join(sorted(types))}"
            yield _issue("value", text, f"{where}.reference", profile)


def _type_of(literal: str) -> str:
    return ("/" + literal.partition("/_history/")[0]).split("/")[-2]


def _forbidden(item: _Json, names: tuple[str, ...], path: str, profile: str) -> Iterator[Issue]:
    for name in names:
        if name in item:
            yield _issue("structure", "is not allowed", f"{path}.{name}", profile)


def _issue(code: str, text: str, path: str, profile: str) -> Issue:
    return Issue(code, f"{text} in {profile.rpartition('/')[2]}, which `meta.profile` claims", (f"Consent.{path}",))


def _codes(concept: object) -> list[tuple[object, object]]:
    return [(coding.get("system"), coding.get("code")) for coding in _list(_object(concept).get("coding"))]


def _object(value: object) -> _Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[_Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
