"""A patch of a consent, in either of the two formats that are taken: JSON Patch and FHIRPath Patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fhir.consents.check import MAX_CONSENT
from fhir.r4.definitions import Definitions
from fhir.r4.fhirpath_patch import apply_path_patch, read_path_patch
from fhir.r4.json_patch import apply_patch, read_patch
from fhir.r4.media_types import media_type
from fhir.writes.request import PATCH_TYPES

FHIRPATH_TYPE: Final = "application/fhir+json"
CONSENT_PATCH_TYPES: Final = PATCH_TYPES | {FHIRPATH_TYPE}


@dataclass(frozen=True, slots=True)
class ConsentPatch:
    """A patch that is well put."""

    apply: Callable[[bytes], bytes]
    """The Consent as it would be. Raises PatchRefused."""
    asks: bool
    """Whether its outcome tells of a value that stands there (docs/leaks.md L46): a `test`, a `where`."""


def read_consent_patch(raw: bytes, content_type: str, definitions: Definitions) -> ConsentPatch:
    """The patch in a body whose content type is one of `CONSENT_PATCH_TYPES`. Raises PatchRefused."""
    if media_type(content_type)[0] == FHIRPATH_TYPE:
        changes = read_path_patch(raw, "Consent")
        return ConsentPatch(
            lambda body: apply_path_patch(body, changes, definitions, "Consent", max_bytes=MAX_CONSENT),
            any(change.asks for change in changes),
        )
    operations = read_patch(raw)
    return ConsentPatch(
        lambda body: apply_patch(body, operations, max_bytes=MAX_CONSENT),
        any(operation["op"] == "test" for operation in operations),
    )
