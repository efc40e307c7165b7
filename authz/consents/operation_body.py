"""What `$fileConsent` and `$revokeConsent` are given: a Parameters resource (Scalable Consent Management 1.0.0-ballot).

Only shapes are read here; the content is `authz.consents.operations`' business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from authz.consents.transitions import ConsentRefused
from fhir.r4.operation_outcome import Issue
from fhir.r4.resource_body import content_of
from fhir.r4.strict_json import check_once

_KEYS: Final = frozenset({"resourceType", "id", "meta", "parameter"})
_CONSENT: Final = re.compile(r"Consent/([A-Za-z0-9\-.]{1,64})", re.ASCII)
_FILE: Final[Mapping[str, str]] = {"consent": "resource", "document": "resource"}
_REVOKE: Final[Mapping[str, str]] = {"consent": "valueReference", "patient": "valueReference", "document": "resource"}


@dataclass(frozen=True, slots=True)
class Document:
    """The documentation that comes along, and where it stands in the request, as FHIRPath."""

    content: dict[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class Filing:
    """What `$fileConsent` is given."""

    consent: dict[str, Any]
    document: Document


@dataclass(frozen=True, slots=True)
class Revoking:
    """What `$revokeConsent` is given."""

    consent_id: str
    patient: dict[str, Any]
    """A Reference."""
    patient_place: str
    document: Document | None


def read_filing(body: bytes) -> Filing:
    """Raises ConsentRefused."""
    given = _given(body, _FILE, frozenset({"document", "consent"}))
    return Filing(given["consent"][0], Document(*given["document"]))


def read_revoking(body: bytes, base: str) -> Revoking:
    """`base`: this server's own, which a reference may start with. Raises ConsentRefused."""
    given = _given(body, _REVOKE, frozenset({"consent", "patient"}))
    reference, place = given["consent"]
    literal = reference.get("reference")
    found = _CONSENT.fullmatch(literal.removeprefix(f"{base}/")) if isinstance(literal, str) else None
    if found is None:
        text = "must be a reference `Consent/<id>` to a consent of this server"
        raise ConsentRefused(422, Issue("value", text, (place,)))
    document = Document(*given["document"]) if "document" in given else None
    return Revoking(found[1], *given["patient"], document)


def _given(body: bytes, known: Mapping[str, str], needed: frozenset[str]) -> dict[str, tuple[dict[str, Any], str]]:
    """Each parameter by its name: its resource or value, and where that stands. Raises ConsentRefused."""
    try:
        body.decode()
        check_once(body)
        content = content_of(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        text = "the body is no JSON object in which every member stands once"
        raise ConsentRefused(400, Issue("structure", text)) from broken
    listed = content.get("parameter")
    if content.get("resourceType") != "Parameters" or not _KEYS.issuperset(content) or not isinstance(listed, list):
        raise ConsentRefused(400, Issue("structure", "the body must be a Parameters resource", ("Parameters",)))
    given: dict[str, tuple[dict[str, Any], str]] = {}
    for i, item in enumerate(listed):
        name = item.get("name") if isinstance(item, dict) else None
        member = known.get(name) if isinstance(name, str) else None
        if member is None or name in given or not {"id", "name", member}.issuperset(item):
            names = ", ".join(f"`{name}` (`{member}`)" for name, member in known.items())
            text = f"the operation takes {names}, each once"
            raise ConsentRefused(400, Issue("structure", text, (f"Parameters.parameter[{i}]",)))
        place = f"Parameters.parameter[{i}].{'resource' if member == 'resource' else 'value'}"
        if not isinstance(item.get(member), dict):
            raise ConsentRefused(400, Issue("required", f"`{name}` must have its `{member}`", (place,)))
        given[str(name)] = (item[member], place)
    for name in sorted(needed - given.keys()):
        raise ConsentRefused(400, Issue("required", f"the parameter `{name}` is missing", ("Parameters",)))
    return given
