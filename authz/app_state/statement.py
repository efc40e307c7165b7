"""The CapabilityStatement of `/app-state` (FHIR R4 §3.1.0.12; SMART 2.2, `smart-app-state-server`)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_SMART: Final = "http://hl7.org/fhir/smart-app-launch"
_INTERACTIONS: Final = ("create", "read", "update", "delete", "search-type")


def statement(issuer: str, base: str, today: str) -> bytes:
    """What the endpoint does. `today`: an ISO date."""
    basic: dict[str, Any] = {
        "type": "Basic",
        "supportedProfile": [f"{_SMART}/StructureDefinition/smart-app-state-basic"],
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "updateCreate": False,
        "searchParam": [{"name": "code", "type": "token"}, {"name": "subject", "type": "reference"}],
    }
    found: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": today,
        "kind": "instance",
        "instantiates": [f"{_SMART}/CapabilityStatement/smart-app-state-server"],
        "software": {"name": "Assent"},
        "implementation": {"description": "Assent, state of apps", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": f"An access token of {issuer} with scopes for Basic, as for /fhir."},
                "resource": [basic],
            }
        ],
    }
    return msgspec.json.encode(found)
