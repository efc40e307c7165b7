"""The JSON of a JWT, before anything of it is believed: an object in which no member stands twice.

RFC 7515 §4 and RFC 7519 §4 leave it to the reader to refuse such a JWT or to take the last of two. Readers that differ
would be told different things by one signature, so it is refused, as a parameter is that stands twice (RFC 6749 §3.1).
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from fhir.r4.strict_json import decode_once


def read_part(part: str) -> dict[str, Any]:
    """Header or claims of a JWT in compact form. Raises ValueError."""
    try:
        return decode_once(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (msgspec.DecodeError, RecursionError) as broken:
        raise ValueError("no object, or not one that can be read in one way only") from broken
