"""The CapabilityStatement of the built-in upstream: what it really answers, no more (FHIR R4 §2.21, §5.2)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from fhir.r4.definitions import Definitions, SearchParameter
from fhir.r4.resource_body import instant
from fhir.search.result_parameters import SUPPORTED_KINDS

_INTERACTIONS: Final = ("read", "vread", "history-instance", "search-type", "create", "update", "delete")
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
_EXPORTS: Final = {
    "": {"name": "export", "definition": f"{_BULK}/export"},
    "Patient": {"name": "export", "definition": f"{_BULK}/patient-export"},
    "Group": {"name": "export", "definition": f"{_BULK}/group-export"},
}


def capability_statement(definitions: Definitions, *, base_url: str, date: datetime) -> bytes:
    """The statement as JSON; `date` is when the server started."""
    parameters = {t: _supported(definitions, t) for t in sorted(definitions.resource_types)}
    including = _includes_by_target(parameters)
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(date),
        "kind": "instance",
        "implementation": {"description": "Sandbox FHIR server with synthetic patients", "url": base_url},
        "fhirVersion": definitions.version,
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": "A bearer token, given out of band, for everything but this statement."},
                "resource": [_resource(t, parameters[t], including.get(t, [])) for t in parameters],
                "operation": [_EXPORTS[""]],
            }
        ],
    }
    return msgspec.json.encode(statement)


def _supported(definitions: Definitions, resource_type: str) -> list[SearchParameter]:
    found = definitions.search_parameters(resource_type).values()
    return sorted((p for p in found if p.kind in SUPPORTED_KINDS), key=lambda p: p.code)


def _includes_by_target(parameters: dict[str, list[SearchParameter]]) -> dict[str, list[str]]:
    including: dict[str, list[str]] = {}
    for resource_type, found in parameters.items():
        for parameter in found:
            # A reference to anything would stand in the list of every type: it is left out of all of them.
            if parameter.kind == "reference" and len(parameter.targets) < len(parameters) // 2:
                for target in parameter.targets:
                    including.setdefault(target, []).append(f"{resource_type}:{parameter.code}")
    return including


def _resource(resource_type: str, parameters: list[SearchParameter], including: list[str]) -> dict[str, object]:
    includes = [f"{resource_type}:{p.code}" for p in parameters if p.kind == "reference"]
    described: dict[str, object] = {
        "type": resource_type,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": False,
        "searchInclude": includes,
        "searchRevInclude": including,
        "operation": [_EXPORTS[resource_type]] if resource_type in _EXPORTS else [],
        "searchParam": [{"name": p.code, "definition": p.url, "type": p.kind} for p in parameters],
    }
    return {name: value for name, value in described.items() if value != []}
