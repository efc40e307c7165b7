"""Writes a person's decision as a FHIR R4 Consent, so that the record alone answers who, what, why and how long.

Shape (docs/consent-semantics.md, "How Assent writes a decision"): the root provision permits the granted everyday
categories to the app, for a purpose, for a period; under it stands one deny for each sensitive category that was not
granted, so that the record says what is kept as plainly as what is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from policies.catalogue import Catalogue, Category
from policies.codes import (
    ACT_REASON_SYSTEM,
    CLIENT_SYSTEM,
    CONSENT_ACTION_SYSTEM,
    DATA_CATEGORY_SYSTEM,
    PARTICIPATION_SYSTEM,
)
from policies.model import WRITE_ACTIONS
from policies.parts import joined

ASKED_EXTENSION: Final = "urn:assent:extension:asked-category"
"""Extension on Consent: a category that was asked for, granted or not."""
POLICY_TEXT_EXTENSION: Final = "urn:assent:extension:policy-text"
"""Extension on Consent.policy: version, language and SHA-256 of the text that was shown."""
_SEEING: Final = "access"
"""The action that every decision permits."""
_ROOT: Final = frozenset({"type", "period", "actor", "action", "purpose", "class", "provision"})
"""Elements of the root provision of a decision."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The text that a person agreed to, as it was shown."""

    uri: str
    version: str
    language: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """What a person decided about one app."""

    patient: str
    performer: str
    """Reference of the person who decided: the patient, or a RelatedPerson."""
    performer_name: str
    client_id: str
    client_name: str
    purpose: str
    asked: tuple[str, ...]
    granted: tuple[str, ...]
    starts: datetime
    ends: datetime | None
    text: PolicyText
    writes: tuple[str, ...] = ()
    """Codes of consentaction that the app may do besides `access`."""
    status: str = "active"
    """`active`, or `rejected` when the person said no."""


def consent_resource(decision: ConsentDecision, catalogue: Catalogue) -> dict[str, object]:
    """Render the decision. Every category named must be in the catalogue (KeyError otherwise).

    A part isn't named beside its whole.
    """
    granted = [catalogue.categories[code] for code in joined(decision.granted, catalogue.wholes)]
    asked = [catalogue.categories[code] for code in joined(decision.asked, catalogue.wholes)]
    provision = _provision(decision, granted, catalogue)
    return {
        "resourceType": "Consent",
        "extension": [{"url": ASKED_EXTENSION, "valueCoding": _coding(category)} for category in asked],
        "status": decision.status,
        "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", "Privacy Consent"),
        "category": [_concept("http://loinc.org", "59284-0", "Consent Document")],
        "patient": {"reference": f"Patient/{decision.patient}"},
        "dateTime": _instant(decision.starts),
        "performer": [{"reference": decision.performer, "display": decision.performer_name}],
        "organization": [{"display": "Assent"}],
        "policy": [_policy(decision.text)],
        "provision": provision,
    }


def is_own_shape(consent: Mapping[str, Any], catalogue: Catalogue) -> bool:
    """Whether the rules of a Consent are those of a decision as it is written here, with nothing besides.

    Of a Consent that isn't, a new decision would leave something out: a deny of a part of what it permits, say.
    """
    root = consent.get("provision")
    if not isinstance(root, dict) or not root.keys() <= _ROOT or "policyRule" in consent:
        return False
    nested = root.get("provision", ())
    everyday = {category.code for category in catalogue.everyday}
    actors, purposes = (root.get(name, ()) for name in ("actor", "purpose"))
    return (
        len(actors) == len(purposes) == 1
        and _has_own_actions(root)
        and actors[0].get("reference", {}).get("identifier", {}).get("system") == CLIENT_SYSTEM
        and all(rule.keys() == {"type", "class"} and rule["type"] == "deny" for rule in nested)
        and all(c.get("system") == DATA_CATEGORY_SYSTEM for rule in (root, *nested) for c in rule.get("class", ()))
        and everyday.isdisjoint(c.get("code") for rule in nested for c in rule.get("class", ()))
    )


def _has_own_actions(root: Mapping[str, Any]) -> bool:
    """Whether the actions are those of a decision: seeing, perhaps with changes; to name none is about seeing too."""
    if "action" not in root:
        return True
    codings = [coding for action in root["action"] for coding in action.get("coding", ())]
    codes = {coding.get("code") for coding in codings}
    return (
        all(len(action.get("coding", ())) == 1 for action in root["action"])
        and all(coding.get("system") == CONSENT_ACTION_SYSTEM for coding in codings)
        and _SEEING in codes
        and codes <= {_SEEING, *WRITE_ACTIONS.values()}
    )


def is_decision_on(consent: Mapping[str, Any], client_id: str, purpose: str, catalogue: Catalogue) -> bool:
    """Whether a Consent is one person's decision about this app and purpose, and so is replaced by the next one."""
    if not is_own_shape(consent, catalogue):
        return False
    root = consent["provision"]
    named = root["actor"][0]["reference"]["identifier"].get("value")
    return bool(named == client_id and root["purpose"][0].get("code") == purpose)


def _provision(decision: ConsentDecision, granted: list[Category], catalogue: Catalogue) -> dict[str, object]:
    everyday = [c for c in granted if not c.sensitive]
    permit = decision.status == "active" and bool(everyday)
    period = {"start": _instant(decision.starts)}
    if decision.ends is not None:
        period["end"] = _instant(decision.ends)
    provision: dict[str, object] = {
        "type": "permit" if permit else "deny",
        "period": period,
        "actor": [_actor(decision)],
        "action": [
            {"coding": [{"system": CONSENT_ACTION_SYSTEM, "code": code}]} for code in (_SEEING, *decision.writes)
        ],
        "purpose": [{"system": ACT_REASON_SYSTEM, "code": decision.purpose}],
    }
    if permit:
        provision["class"] = [_coding(c) for c in everyday]
        kept = [c for c in catalogue.sensitive if c not in granted]
        if kept:
            provision["provision"] = [{"type": "deny", "class": [_coding(c)]} for c in kept]
    return provision


def _actor(decision: ConsentDecision) -> dict[str, object]:
    app: dict[str, object] = {
        "type": "Device",
        "identifier": {"system": CLIENT_SYSTEM, "value": decision.client_id},
    }
    if decision.client_name:
        app["display"] = decision.client_name
    return {
        "role": {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP", "display": "information recipient"}]},
        "reference": app,
    }


def _policy(text: PolicyText) -> dict[str, object]:
    parts = (("version", text.version), ("language", text.language), ("sha256", text.sha256))
    return {
        "extension": [
            {
                "url": POLICY_TEXT_EXTENSION,
                "extension": [{"url": name, "valueString": value} for name, value in parts],
            }
        ],
        "uri": text.uri,
    }


def _coding(category: Category) -> dict[str, object]:
    return {"system": DATA_CATEGORY_SYSTEM, "code": category.code, "display": category.title}


def _concept(system: str, code: str, display: str) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
