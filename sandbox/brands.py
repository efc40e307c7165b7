"""The brand under which the sandbox shows itself to apps: one made-up health system with one portal."""

from __future__ import annotations

import json

_R4 = "4.0.1"
_STRUCTURES = "http://hl7.org/fhir/StructureDefinition"


def sandbox_brands(issuer: str) -> bytes:
    """A Bundle of User Access Brands (SMART 2.2) for a server with this public URL."""
    endpoint = {
        "resourceType": "Endpoint",
        "id": "sandbox-r4",
        "meta": {"lastUpdated": "2026-11-01T00:00:00Z"},
        "extension": [{"url": f"{_STRUCTURES}/endpoint-fhir-version", "valueCode": _R4}],
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "hl7-fhir-rest",
        },
        "name": "Riverside Sandbox, FHIR R4",
        "contact": [{"system": "url", "value": f"{issuer}/developer"}],
        "payloadType": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none"}]}
        ],
        "address": f"{issuer}/fhir",
    }
    reference = {"reference": "Endpoint/sandbox-r4"}
    portal = [
        {"url": "portalName", "valueString": "My sharing"},
        {"url": "portalDescription", "valueMarkdown": "Made-up people only: this is a sandbox."},
        {"url": "portalUrl", "valueUrl": f"{issuer}/my"},
        {"url": "portalEndpoint", "valueReference": reference},
    ]
    organization = {
        "resourceType": "Organization",
        "id": "riverside-sandbox",
        "meta": {"lastUpdated": "2026-11-01T00:00:00Z"},
        "extension": [{"url": f"{_STRUCTURES}/organization-portal", "extension": portal}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": issuer}],
        "active": True,
        "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov"}]}],
        "name": "Riverside Sandbox",
        "telecom": [{"system": "url", "value": issuer}],
        "endpoint": [reference],
    }
    entries = [
        {"fullUrl": f"{issuer}/brands/{r['resourceType']}/{r['id']}", "resource": r} for r in (organization, endpoint)
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": "2026-11-01T00:00:00Z", "entry": entries}
    return json.dumps(bundle, indent=1).encode()
