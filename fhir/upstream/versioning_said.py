"""What a capability statement says of versions, type by type (FHIR R4 §3.1.0.1.4, `rest.resource.versioning`).

`versioned-update` is the only word by which a server says that it compares `If-Match` with the version that it has.
`versioned` says that there are versions, `no-version` that there are none. Whether a server does as it says can't be
known without writing to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fhir.r4.interaction import NOT_WRITTEN
from fhir.r4.resource_type_names import RESOURCE_TYPE_NAMES


class _Resource(msgspec.Struct):
    type: str = ""
    versioning: str = ""


class _Rest(msgspec.Struct):
    mode: str = ""
    resource: list[_Resource] = []


class _Statement(msgspec.Struct):
    rest: list[_Rest] = []


def versioning_said(body: bytes) -> Mapping[str, str]:
    """`versioning` by resource type, of those that apps can write; empty where nothing is said of a type."""
    try:
        said = msgspec.json.decode(body, type=_Statement).rest
    except (msgspec.DecodeError, RecursionError):
        return {}
    listed = (resource for rest in said if rest.mode == "server" for resource in rest.resource)
    return {one.type: one.versioning for one in listed if one.type in RESOURCE_TYPE_NAMES - NOT_WRITTEN}
