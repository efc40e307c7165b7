"""What a Provenance says of one change of a Consent: which version it made, when, by whom, under which policy.

FHIR R4 §6.3. It stands beside the AuditEvent: that one is the server's record of an act and may be withheld, this one
belongs to the version and is read with it. Written by Assent only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from fhir.audit.event import CLIENT_SYSTEM
from fhir.r4.resource_body import instant
from fhir.store.repository import StoredResource

Activity = Literal["CREATE", "UPDATE", "DELETE"]
"""Codes of v3-DataOperation."""
_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_AGENT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def consent_provenance(
    stored: StoredResource,
    content: Mapping[str, Any],
    activity: Activity,
    *,
    client_id: str,
    client_name: str,
    now: datetime,
    source: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    """The Provenance of the version `stored`. `content` is the Consent; of a deleted one, as it was before.

    `source`: a document on which the change rests, with an id; it is kept inside.
    """
    who: dict[str, object] = {"type": "Device", "identifier": {"system": CLIENT_SYSTEM, "value": client_id}}
    if client_name:
        who["display"] = client_name
    return _provenance(stored, content, activity, {"type": _role("enterer"), "who": who}, now, source)


def decision_provenance(
    stored: StoredResource, content: Mapping[str, Any], *, performer: str, performer_name: str, now: datetime
) -> dict[str, object]:
    """The Provenance of a version that a person made by their decision. `performer`: a reference to them."""
    who = {"reference": performer, "display": performer_name}
    return _provenance(stored, content, "UPDATE", {"type": _role("author"), "who": who}, now)


def _provenance(
    stored: StoredResource,
    content: Mapping[str, Any],
    activity: Activity,
    agent: Mapping[str, object],
    now: datetime,
    source: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    reference = f"Consent/{stored.id}"
    provenance: dict[str, object] = {
        "resourceType": "Provenance",
        "target": [{"reference": f"{reference}/_history/{stored.version}"}],
        "occurredDateTime": instant(stored.last_updated),
        "recorded": instant(now),
        "activity": {"coding": [{"system": _OPERATION, "code": activity}]},
        "agent": [
            agent,
            {"type": _role("custodian"), "who": {"display": "Assent"}},
        ],
    }
    policies = [policy["uri"] for policy in content.get("policy", ()) if "uri" in policy]
    if policies:
        provenance["policy"] = policies
    entities: list[dict[str, object]] = []
    if stored.version > 1:
        before = {"reference": f"{reference}/_history/{stored.version - 1}"}
        entities.append({"role": "revision", "what": before})
    if source is not None:
        provenance["contained"] = [source]
        entities.append({"role": "source", "what": {"reference": f"#{source['id']}"}})
    if entities:
        provenance["entity"] = entities
    return provenance


def _role(code: str) -> dict[str, object]:
    return {"coding": [{"system": _AGENT, "code": code}]}
