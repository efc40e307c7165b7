"""A resource as the bytes that are stored: as it was given, but for the `id` and the `meta` that the store sets.

FHIR R4 §2.27.4: `meta.versionId` and `meta.lastUpdated` are the server's. Number text and the order of properties
survive: a resource given as bytes is never decoded below its first level, one given as a mapping keeps `Decimal`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

Resource = Mapping[str, object] | bytes
"""A resource: its JSON text, or a mapping (with `Decimal` for the numbers whose digits matter)."""

_TOP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CONTENT: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_CONTENTS: Final = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def top_level(resource: Resource) -> dict[str, object]:
    """The properties of a resource, those of a JSON text undecoded. Raises msgspec.DecodeError for other than JSON."""
    if isinstance(resource, bytes):
        return dict(_TOP.decode(resource))
    return dict(resource)


def text_of(properties: Mapping[str, object], name: str) -> str | None:
    """A property that is a string; None when there is none."""
    value = properties.get(name)
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    return value if isinstance(value, str) else None


def stamped(properties: Mapping[str, object], id: str, version: int, last_updated: datetime) -> bytes:
    """The body with the store's id, version and time; new properties stand right behind `resourceType`."""
    given = properties.get("meta")
    if isinstance(given, msgspec.Raw):
        given = _TOP.decode(given)
    meta = dict(given) if isinstance(given, Mapping) else {}
    meta |= {"versionId": str(version), "lastUpdated": instant(last_updated)}
    head = {"resourceType": properties["resourceType"]}
    head |= {name: None for name in ("id", "meta") if name not in properties}
    return _ENCODER.encode({**head, **properties, "id": id, "meta": meta})


def content_of(body: bytes) -> dict[str, Any]:
    """A stored body decoded, decimals exact."""
    return _CONTENT.decode(body)


def content_list(body: bytes) -> list[dict[str, Any]]:
    """A list of objects decoded, decimals exact. Raises msgspec.DecodeError."""
    return _CONTENTS.decode(body)


def encode_body(properties: Mapping[str, object]) -> bytes:
    """The JSON text of properties, those undecoded as they are."""
    return _ENCODER.encode(properties)


def instant(moment: datetime) -> str:
    """A FHIR instant with milliseconds, as `meta.lastUpdated` shows it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def etag(version: int) -> str:
    """FHIR R4 §3.1.0.1.3: a weak one that holds the version id."""
    return f'W/"{version}"'
