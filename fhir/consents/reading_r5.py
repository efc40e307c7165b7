"""Reads a FHIR R5 Consent (JSON, decoded) into the rule that an R4 one would become.

FHIR R5 §6.2 Consent. `decision` is the base rule; `provision` is a list, and what stands in it turns the rule around,
at every depth. `grantee` names who is meant, as R4 does by actors in the role IRCP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir.consents.elements import items, names_of, read_period, text
from fhir.consents.envelope import COMMON_MEMBERS, read_envelope
from fhir.consents.provision import COMMON_NAMES, Dialect, ProvisionReader
from policies.consent_rule import ConsentRule, Period, Provision

R5_MARKERS: Final = frozenset(
    {
        *("subject", "date", "period", "grantor", "grantee", "manager", "controller"),
        *("regulatoryBasis", "policyBasis", "policyText", "decision"),
    }
)
_MEMBERS: Final = COMMON_MEMBERS | R5_MARKERS
_DECISIONS: Final = {"permit": True, "deny": False}
_R5: Final = Dialect(
    COMMON_NAMES | {"documentType", "resourceType"},  # `expression` isn't understood
    polarity=lambda _, given: given,
    below=lambda permit: None if permit is None else not permit,
)


def read_r5(resource: Mapping[str, object]) -> ConsentRule:
    """Compile one R5 Consent. The result always exists; what is broken in it denies."""
    envelope = read_envelope(resource, _MEMBERS, "subject")
    problems: list[str] = []
    decision = _DECISIONS.get(text(resource.get("decision")))
    if decision is None:
        problems.append("decision")
    grantees = _grantees(resource.get("grantee"), problems, permit=decision is True)
    provisions = ProvisionReader(_R5).read_all(resource.get("provision"), "provision", _R5.below(decision), problems)
    period = read_period(resource["period"], "period", problems) if "period" in resource else Period()
    root = Provision("decision", decision, actors=grantees, provisions=provisions, not_understood=tuple(problems))
    return envelope.rule(root, period=period)


def _grantees(value: object, problems: list[str], *, permit: bool) -> tuple[str, ...]:
    found: list[str] = []
    for i, item in enumerate(items(value, "grantee", problems)):
        found += names_of(item, f"grantee[{i}]", problems, permit=permit)
    return tuple(found)
