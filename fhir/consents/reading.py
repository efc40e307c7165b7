"""Reads a FHIR Consent (JSON, decoded) into a `ConsentRule`: which release it is written in, and what R4 says.

FHIR R4 §6.2 Consent; docs/consent-semantics.md. Shapes only; what it means is `policies`' business. Whatever isn't
understood (an unknown element, a modifier extension, a code outside the bound values, a malformed date) is recorded
at its place and makes that place deny. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fhir.consents.elements import concept, text
from fhir.consents.envelope import COMMON_MEMBERS, Envelope, read_envelope
from fhir.consents.provision import COMMON_NAMES, Dialect, ProvisionReader
from fhir.consents.reading_r5 import R5_MARKERS, read_r5
from policies.codes import ACT_CODE_SYSTEM, ACT_REASON_SYSTEM
from policies.consent_rule import ConsentRule, Provision
from policies.model import Coding

R4_MARKERS: Final = frozenset({"scope", "patient", "dateTime", "performer", "organization", "policy", "policyRule"})
_MEMBERS: Final = COMMON_MEMBERS | R4_MARKERS
_ROOT: Final = "provision"
_POLICY_RULES: Final = {"OPTIN": True, "OPTOUT": False}
_SCOPE_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_NOT_ABOUT_DATA: Final = frozenset({"adr", "treatment"})
_RESEARCH: Final = Coding(ACT_REASON_SYSTEM, "HRESCH")


def read_consent(content: object) -> ConsentRule:
    """Compile one Consent, R4 or R5. The result always exists; what is broken in it denies.

    The release isn't in the resource, so its elements tell: one that has elements of both is not understood.
    """
    resource: Mapping[str, object] = content if isinstance(content, dict) else {}
    newer = isinstance(resource.get("provision"), list) or not R5_MARKERS.isdisjoint(resource)
    if not newer:
        return _read_r4(resource)
    if R4_MARKERS.isdisjoint(resource):
        return read_r5(resource)
    subject = "patient" if "patient" in resource else "subject"
    envelope = read_envelope(resource, frozenset(resource), subject)
    return envelope.rule(Provision(_ROOT, None), extra=("elements of both R4 and R5",))


def _read_r4(resource: Mapping[str, object]) -> ConsentRule:
    envelope = read_envelope(resource, _MEMBERS, "patient")
    scopes = _codes_of(resource, "scope", _SCOPE_SYSTEM, envelope.problems)
    root = _root(resource, envelope)
    about_data = True
    if scopes is not None and "patient-privacy" not in scopes:
        # `scope` is a modifier element: what it is about changes what it says.
        about_data = not scopes or not scopes <= _NOT_ABOUT_DATA
        if scopes == {"research"}:
            root = root if root.purposes else replace(root, purposes=(_RESEARCH,))
        elif about_data:
            envelope.problems.append("scope")
    return envelope.rule(root, about_data=about_data)


def _root(resource: Mapping[str, object], envelope: Envelope) -> Provision:
    base = _base_rule(resource)
    if "provision" in resource:
        return ProvisionReader(_R4).read(resource["provision"], _ROOT, base)
    if base is None:
        return Provision(_ROOT, None, not_understood=(_ROOT,))
    return Provision(_ROOT, base)


def _base_rule(resource: Mapping[str, object]) -> bool | None:
    """Without a root `provision.type`: OPTIN permits, OPTOUT denies, any other rule isn't understood."""
    problems: list[str] = []
    found = _codes_of(resource, "policyRule", ACT_CODE_SYSTEM, problems)
    return _POLICY_RULES.get(found.pop()) if found is not None and len(found) == 1 and not problems else None


def _codes_of(resource: Mapping[str, object], name: str, system: str, problems: list[str]) -> set[str] | None:
    """Codes of a CodeableConcept in one system (no system counts as that one); None when the element is absent."""
    if name not in resource:
        return None
    return {c.code for c in concept(resource[name], name, problems) if c.system in ("", system)}


def _type_of(item: Mapping[str, object], given: bool | None) -> bool | None:
    return {"permit": True, "deny": False}.get(text(item["type"])) if "type" in item else given


_R4: Final = Dialect(COMMON_NAMES | {"type", "class"}, polarity=_type_of, below=lambda _: None)
