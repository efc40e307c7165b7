"""FHIRPath Patches for tests: how they are written, and what becomes of a resource."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir.r4.definitions import load_definitions
from fhir.r4.fhirpath_patch import apply_path_patch, read_path_patch
from fhir.r4.json_patch import PatchRefused

MOST = 50_000
DEFINITIONS = load_definitions()
OFFICIAL = {"system": "urn:a", "use": "official", "value": "1"}
USUAL = {"system": "urn:b", "use": "usual", "value": "2"}
OLD = {"system": "urn:c", "use": "old", "value": "3"}


def _parts(**given: Any) -> list[dict[str, Any]]:
    kinds = {"type": "valueCode", "path": "valueString", "name": "valueString"}
    return [
        {"name": name, **(value if name == "value" else {kinds.get(name, "valueInteger"): value})}
        for name, value in given.items()
    ]


def op(type: Any, path: str, **more: Any) -> dict[str, Any]:
    """An operation; `value` is the value's member and JSON value."""
    return {"name": "operation", "part": _parts(type=type, path=path, **more)}


def patch(*operations: object) -> bytes:
    return json.dumps({"resourceType": "Parameters", "parameter": operations}).encode()


def patched(before: dict[str, Any], *operations: object, kind: str = "Patient") -> dict[str, Any]:
    body = json.dumps({"resourceType": kind, **before}).encode()
    read = read_path_patch(patch(*operations), kind)
    after: dict[str, Any] = json.loads(apply_path_patch(body, read, DEFINITIONS, kind, max_bytes=MOST))
    assert after.pop("resourceType") == kind
    return after


def refused_by(before: dict[str, Any], *operations: object, kind: str = "Patient") -> PatchRefused:
    with pytest.raises(PatchRefused) as refused:
        patched(before, *operations, kind=kind)
    return refused.value
