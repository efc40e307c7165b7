"""Whether a Consent that somebody hands in may be kept: FHIR R4 §6.2, and what this server understands of it.

A Consent that isn't understood would be kept only to deny (docs/consent-semantics.md). Whoever writes it is there to be
told, so it is refused instead, every problem with the element that it stands at. INVARIANT: an issue names elements
and never quotes a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fhir.consent_reading import read_consent
from fhir.consent_reading_r5 import R5_MARKERS
from fhir.models import Defect, consent_defects
from fhir.operation_outcome import Issue
from fhir.pcf_profiles import profile_issues
from policies.consent_rule import ConsentRule, Provision

MAX_CONSENT: Final = 262_144
"""Bytes of one Consent."""
MAX_ISSUES: Final = 100
_STATUSES: Final = frozenset({"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"})
_DEFECTS: Final = {"missing": "required", "extra_forbidden": "structure"}
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
    newer = [name for name in sorted(R5_MARKERS.intersection(content))]
    if isinstance(content.get("provision"), list):
        newer.append("provision")
    if newer:
        text = "an element of R5; this server keeps R4 Consents"
        return Findings(tuple(Issue("not-supported", text, (f"Consent.{name}",)) for name in newer))
    broken = tuple(_shape(content))
    told = {issue.expression for issue in broken}
    further = (*_envelope(content), *_reading(content), *profile_issues(content))
    issues = dict.fromkeys([*broken, *(issue for issue in further if issue.expression not in told)])
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
    elif not read_consent(content).patient:
        text = "must be a reference `Patient/<id>` to a patient of this server"
        yield Issue("value", text, ("Consent.patient.reference",))
    if "id" in content and not isinstance(content["id"], str):
        yield Issue("value", "must be a string", ("Consent.id",))
    if "policy" not in content and "policyRule" not in content:
        yield Issue("invariant", "either a `policy` or a `policyRule` must be there (ppc-1)", ("Consent",))


def _shape(content: Mapping[str, object]) -> Iterator[Issue]:
    try:
        defects = consent_defects(content)
    except RecursionError:
        defects = (Defect((), "too deep"),)
    for defect in defects:
        text = "is missing" if defect.kind == "missing" else "is not as FHIR R4 has it"
        yield Issue(_DEFECTS.get(defect.kind, "value"), text, (_path(defect.place),))


def _reading(content: Mapping[str, object]) -> Iterator[Issue]:
    for place in _places(read_consent(content)):
        name, _, why = place.partition(": ")
        text = f"{_NOT_UNDERSTOOD} ({why})" if why else _NOT_UNDERSTOOD
        yield Issue("not-supported", text, (f"Consent.{name}" if name else "Consent",))


def _places(rule: ConsentRule) -> Iterator[str]:
    yield from rule.not_understood
    yield from _places_in(rule.root)


def _places_in(provision: Provision) -> Iterator[str]:
    yield from provision.not_understood
    for nested in provision.provisions:
        yield from _places_in(nested)


def _path(place: tuple[str | int, ...]) -> str:
    """`Consent.provision.actor[0].role`, as FHIRPath writes it."""
    return "Consent" + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:64]}" for part in place)
