"""Whether a Consent that somebody hands in may be kept: FHIR R4 §6.2, and what this server understands of it.

A Consent that isn't understood would be kept only to deny (docs/consent-semantics.md). Whoever writes it is there to be
told, so it is refused instead, every problem with the element that it stands at. INVARIANT: an issue names elements
and never quotes a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fhir.consents.pcf_profiles import profile_issues
from fhir.consents.reading import read_consent
from fhir.consents.reading_r5 import R5_MARKERS
from fhir.r4.models import Defect, resource_defects
from fhir.r4.narrative import is_narrative
from fhir.r4.operation_outcome import Issue
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES
from policies.consent_rule import ConsentRule, Provision

MAX_CONSENT: Final = 262_144
"""Bytes of one Consent."""
MAX_ISSUES: Final = 100
MAX_PROVISIONS: Final = 1_000
"""Of one Consent that is handed in; each is asked at every decision."""
_STATUSES: Final = frozenset({"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"})
_PATIENT: Final = ("Patient", "http://hl7.org/fhir/StructureDefinition/Patient")
_DEFECTS: Final = {"extra_forbidden": "structure"}
_NOT_UNDERSTOOD: Final = "isn't understood here, so it would deny; see docs/consent-semantics.md"


@dataclass(frozen=True, slots=True)
class Findings:
    """What stands against keeping a Consent; no issues when it may be kept."""

    issues: tuple[Issue, ...] = ()
    shapeless: bool = False
    """It isn't even valid R4 (HTTP 400); otherwise it breaks rules beyond that (422)."""


def findings_in(content: Mapping[str, object]) -> Findings:
    """Look a Consent over."""
    if content.get("resourceType") != "Consent":
        return Findings((Issue("invalid", "the resource is not a Consent", ("Consent",)),), shapeless=True)
    newer = sorted(R5_MARKERS.intersection(content))
    if isinstance(content.get("provision"), list):
        newer.append("provision")
    if newer:
        text = "an element of R5; this server keeps R4 Consents"
        return Findings(tuple(Issue("not-supported", text, (f"Consent.{name}",)) for name in newer))
    if sum(1 for _ in provisions_of(read_consent(content).root)) > MAX_PROVISIONS:
        text = f"a Consent may have {MAX_PROVISIONS} provisions"
        return Findings((Issue("too-costly", text, ("Consent.provision",)),))
    empty = tuple(islice(_empty(content), MAX_ISSUES))
    told = {issue.expression for issue in empty}
    broken = (*empty, *(issue for issue in _shape(content) if issue.expression not in told))
    told = {issue.expression for issue in broken}
    further = (*_contained(content), *_envelope(content), *_reading(content), *profile_issues(content))
    issues = dict.fromkeys([*broken, *(issue for issue in further if issue.expression not in told)])
    return Findings(tuple(issues)[:MAX_ISSUES], shapeless=bool(broken))


def document_findings(content: Mapping[str, object], place: str) -> Findings:
    """Look over a document that is kept inside a resource; `place` is where it was given, as FHIRPath.

    Its type is one that `fhir.r4.models` knows.
    """
    broken = (*islice(_empty(content, (), place), MAX_ISSUES), *_shape(content, str(content["resourceType"]), place))
    issues = dict.fromkeys([*broken, *_one_contained(content, place)])
    return Findings(tuple(issues)[:MAX_ISSUES], shapeless=bool(broken))


def patient_of(content: Mapping[str, object]) -> str:
    """Logical id of the patient of a Consent without issues."""
    return read_consent(content).patient


def _envelope(content: Mapping[str, object]) -> Iterator[Issue]:
    status = content.get("status")
    if "status" in content and (not isinstance(status, str) or status not in _STATUSES):
        yield Issue("code-invalid", "not a code of consent-state-codes", ("Consent.status",))
    if "patient" not in content:
        yield Issue("required", "a Consent needs its patient here (ppc-2)", ("Consent.patient",))
    elif not _is_own(content["patient"], read_consent(content).patient):
        text = "must be a reference `Patient/<id>` to a patient of this server"
        yield Issue("value", text, ("Consent.patient.reference",))
    if "id" in content and not isinstance(content["id"], str):
        yield Issue("value", "must be a string", ("Consent.id",))
    yield from _narrative(content, "Consent")
    if "policy" not in content and "policyRule" not in content:
        yield Issue("invariant", "either a `policy` or a `policyRule` must be there (ppc-1)", ("Consent",))


def _is_own(patient: object, id: str) -> bool:
    """Whether it is the reference by which consents are found and their grants ended; no version, no other base."""
    if not isinstance(patient, Mapping) or not id or patient.get("reference") != f"Patient/{id}":
        return False
    return patient.get("type", "Patient") in _PATIENT  # FHIR R4 §2.3.0: `type` says no other than the reference


def _narrative(content: Mapping[str, object], place: str) -> Iterator[Issue]:
    text = content.get("text")
    if isinstance(text, dict) and "div" in text and not is_narrative(text["div"]):
        yield Issue("invariant", "must be XHTML that formats and does nothing (txt-1)", (f"{place}.text.div",))


def _contained(content: Mapping[str, object]) -> Iterator[Issue]:
    listed = content.get("contained")
    for i, item in enumerate(listed if isinstance(listed, list) else ()):
        yield from _one_contained(item if isinstance(item, dict) else {}, f"Consent.contained[{i}]")


def _one_contained(inner: Mapping[str, object], place: str) -> Iterator[Issue]:
    """FHIR R4 dom-2, dom-4, dom-5: of a type that R4 has, one level, with neither a version nor labels of its own."""
    if not isinstance(kind := inner.get("resourceType"), str) or kind not in RESOURCE_TYPE_NAMES:
        yield Issue("structure", "is no resource type of R4", (f"{place}.resourceType",))
    if "contained" in inner:
        yield Issue("invariant", "a contained resource contains none (dom-2)", (f"{place}.contained",))
    yield from _narrative(inner, place)
    meta = inner.get("meta")
    for name in ("versionId", "lastUpdated", "security"):
        if isinstance(meta, dict) and name in meta:
            text = "a contained resource has no version and no security label (dom-4, dom-5)"
            yield Issue("invariant", text, (f"{place}.meta.{name}",))


def _shape(content: Mapping[str, object], kind: str = "Consent", root: str = "Consent") -> Iterator[Issue]:
    try:
        defects = resource_defects(kind, content)
    except RecursionError:
        defects = (Defect((), "too deep"),)
    for defect in defects:
        missing = defect.kind == "missing" or _is_missing(content, defect.place)
        text = "is missing" if missing else "is not as FHIR R4 has it"
        yield Issue("required" if missing else _DEFECTS.get(defect.kind, "value"), text, (_path(defect.place, root),))


def _is_missing(content: object, place: tuple[str | int, ...]) -> bool:
    """The library tells an absent primitive as a wrong value."""
    for part in place[:-1]:
        try:
            content = content[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(content, Mapping) and bool(place) and place[-1] not in content


def _empty(value: object, place: tuple[str | int, ...] = (), root: str = "Consent") -> Iterator[Issue]:
    """FHIR R4 §2.6.2: no element is empty. A null may stand in a list of primitives only."""
    if value in ("", None) or value == [] or value == {}:
        yield Issue("structure", "must not be empty", (_path(place, root),))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _empty(item, (*place, str(name)), root)
    elif isinstance(value, list):
        of_primitives = any(isinstance(item, str | int | float) for item in value)
        for i, item in enumerate(value):
            if item is not None or not of_primitives:
                yield from _empty(item, (*place, i), root)


def _reading(content: Mapping[str, object]) -> Iterator[Issue]:
    for place in _places(read_consent(content)):
        name, _, why = place.partition(": ")
        text = f"{_NOT_UNDERSTOOD} ({why})" if why else _NOT_UNDERSTOOD
        yield Issue("not-supported", text, (f"Consent.{name}" if name else "Consent",))


def _places(rule: ConsentRule) -> Iterator[str]:
    yield from rule.not_understood
    for provision in provisions_of(rule.root):
        yield from provision.not_understood


def provisions_of(provision: Provision) -> Iterator[Provision]:
    """A provision, and all that are nested in it."""
    yield provision
    for nested in provision.provisions:
        yield from provisions_of(nested)


def _path(place: tuple[str | int, ...], root: str) -> str:
    """`Consent.provision.actor[0].role`, as FHIRPath writes it."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:64]}" for part in place)
