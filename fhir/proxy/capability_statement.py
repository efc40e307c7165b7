"""`/fhir/metadata`: what this server offers to apps. FHIR R4 CapabilityStatement; SMART 2.2, conformance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from fhir.consents.fast_consent import OPERATIONS
from fhir.consents.pcf_profiles import ADVANCED, BASIC, INTERMEDIATE
from fhir.proxy.narrowing import is_about_nobody
from fhir.r4.definitions import Definitions, SearchParameter
from fhir.r4.interaction import Interaction, interaction_of
from policies.catalogue import Catalogue
from policies.search_guard import MODIFIERS

_OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_DESCRIPTION: Final = (
    "SMART scopes, within the patients' consents of the moment: `patient/` and `user/` open the patient in context; "
    "`system/` opens for a backend service, of each patient, what that patient's consents permit to it by name."
)
_SYSTEM_SEARCH: Final = "`_type` is required; it takes `_id`, `_lastUpdated` and `_count` besides"
_EVERYTHING: Final = {
    "name": "everything",
    "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything",
    "documentation": "of one patient; it takes `_type`, `_since` and `_count`",
}
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata"
_EXPORT_ABOUT: Final = "for backend services; it takes `_outputFormat`, `_type` and `_since`"
_EXPORTS: Final = {
    level: {
        "name": "export",
        "definition": f"{_BULK}/OperationDefinition/{level}export",
        "documentation": _EXPORT_ABOUT,
    }
    for level in ("", "patient-", "group-")
}
_GROUP: Final[dict[str, Any]] = {"type": "Group", "operation": [_EXPORTS["group-"]]}
_KEPT_ABOUT: Final = (
    "Only clients with `assent/consents.` scopes do more than read and search. "
    "A patch is JSON Patch or FHIRPath Patch (`application/fhir+json`)."
)
_BINARY: Final[dict[str, Any]] = {
    "type": "Binary",
    "interaction": [{"code": "read", "documentation": "through a DocumentReference that may be read"}],
}
_NO_PROFILES: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


def capability_statement(
    issuer: str,
    catalogue: Catalogue,
    definitions: Definitions,
    date: str,
    serves: Callable[[str], bool],
    together: Callable[[str, str], bool],
    *,
    registration: bool = False,
    writes: bool = False,
    instantiates: Sequence[str] = (),
    profiles: Mapping[str, Sequence[str]] = _NO_PROFILES,
) -> bytes:
    """The statement for everybody, of types that have a source; what a caller may use, token and consents decide.

    `together`: whether two types have the same source, so that an include can lead from one to the other.
    `registration`: whether apps may register themselves; `writes`: whether they may write.
    `instantiates` and `profiles` (by resource type): canonical URLs of what the operator says the data follow.
    """
    kinds = sorted(kind for kind in catalogue.scopes_by_type if serves(kind))
    resources = [
        _resource(kind, definitions, writes=writes and not is_about_nobody(kind, catalogue))
        | _profiles(kind, profiles)
        | _includes(kind, [other for other in kinds if together(kind, other)], definitions)
        for kind in kinds
    ]
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "Assent"},
        "implementation": {"description": "Assent, a consent-enforcing FHIR proxy", "url": f"{issuer}/fhir"},
        "fhirVersion": definitions.version,
        "format": ["application/fhir+json", "json"],
        "instantiates": [f"{_BULK}/CapabilityStatement/bulk-data", *instantiates],
        "rest": [
            {
                "mode": "server",
                "security": _security(issuer, registration=registration),
                "resource": sorted(
                    (resource for resource in [*resources, _BINARY, _GROUP] if serves(resource["type"])),
                    key=lambda resource: str(resource["type"]),
                ),
                "interaction": [{"code": "search-system", "documentation": _SYSTEM_SEARCH}, {"code": "batch"}],
                "operation": [_EXPORTS[""]],
            }
        ],
    }
    return msgspec.json.encode(statement)


def _security(issuer: str, *, registration: bool) -> dict[str, Any]:
    uris = {"authorize": "authorize", "token": "token", "introspect": "introspect", "revoke": "revoke", "manage": "my"}
    if registration:
        uris["register"] = "register"
    return {
        "extension": [
            {
                "url": _OAUTH_URIS,
                "extension": [{"url": name, "valueUri": f"{issuer}/{path}"} for name, path in uris.items()],
            }
        ],
        "cors": True,
        "service": [{"coding": [{"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}],
        "description": _DESCRIPTION,
    }


def _resource(kind: str, definitions: Definitions, *, writes: bool) -> dict[str, Any]:
    parameters = [
        {"name": p.code, "type": p.kind, "definition": p.url}
        for p in sorted(definitions.search_parameters(kind).values(), key=lambda p: p.code)
        if p.kind in MODIFIERS and (not p.code.startswith("_") or p.code in ("_id", "_lastUpdated", "_profile"))
    ]
    resource: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": code} for code in ("read", "vread", "history-instance", "search-type")],
        "versioning": "versioned",
        "readHistory": True,
        "searchParam": parameters,
    }
    if kind == "Patient":
        resource["operation"] = [_EVERYTHING, _EXPORTS["patient-"]]
    if kind == "Consent":
        return _kept(resource)
    return resource | _written(kind, resource["interaction"]) if writes else resource


def _profiles(kind: str, profiles: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    own = [BASIC, INTERMEDIATE, ADVANCED] if kind == "Consent" else []
    named = [*own, *profiles.get(kind, ())]
    return {"supportedProfile": named} if named else {}


def _includes(kind: str, beside: Sequence[str], definitions: Definitions) -> dict[str, list[str]]:
    """What `_include` and `_revinclude` can follow from a type; an absent list would mean nothing at all (R4)."""
    found = {
        "searchInclude": [
            f"{kind}:{p.code}" for p in _references(kind, definitions) if not set(beside).isdisjoint(p.targets)
        ],
        "searchRevInclude": [
            f"{source}:{p.code}" for source in beside for p in _references(source, definitions) if kind in p.targets
        ],
    }
    return {name: listed for name, listed in found.items() if listed}


def _references(kind: str, definitions: Definitions) -> list[SearchParameter]:
    parameters = definitions.search_parameters(kind).values()
    return sorted((p for p in parameters if p.kind == "reference"), key=lambda p: p.code)


def _written(kind: str, read: list[dict[str, str]]) -> dict[str, Any]:
    """What apps may do besides reading, where the server lets them write."""
    tried = (("create", "POST", kind), ("update", "PUT", f"{kind}/1"), ("patch", "PATCH", f"{kind}/1"))
    more = [
        {"code": code}
        for code, method, path in (*tried, ("delete", "DELETE", f"{kind}/1"))
        if isinstance(interaction_of(method, f"/{path}", writes=True), Interaction)
    ]
    if not more:
        return {}
    return {
        "interaction": [*read, *more],
        "versioning": "versioned-update",
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
    }


def _kept(resource: dict[str, Any]) -> dict[str, Any]:
    """Consents, which recorders keep (docs/consents-api.md); to everybody else they are as any other type."""
    more = ("create", "update", "patch", "delete", "history-type")
    return resource | {
        "documentation": _KEPT_ABOUT,
        "interaction": [*resource["interaction"], *({"code": code} for code in more)],
        "updateCreate": False,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "operation": [{"name": name, "definition": url} for name, url in OPERATIONS.items()],
    }
