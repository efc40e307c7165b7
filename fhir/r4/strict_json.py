"""Decodes FHIR JSON that means one thing only: an object in which a member stands twice is refused.

Readers differ over which of the two counts (RFC 8259 §4). What is kept of a resource stays the upstream's own bytes, so
rules that looked at one of them would let the other through (docs/leaks.md L07).
"""

from __future__ import annotations

import json

import msgspec

_decode = msgspec.json.Decoder(object).decode
_decode_numbers_as_written = msgspec.json.Decoder(object, float_hook=msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode


def decode_once(raw: bytes) -> dict[str, object]:
    """The object. Raises msgspec.DecodeError for what is no object or ambiguous, RecursionError for the too deep."""
    content = decode_value_once(raw)
    if not isinstance(content, dict):
        raise msgspec.DecodeError("no JSON object")
    return content


def decode_value_once(raw: bytes) -> object:
    """As `decode_once`, for any JSON value."""
    content = _decode(raw)
    # Compact JSON comes out as it went in, unless something was lost. Most servers write it, some with `1.50` in it.
    if _encode(content) != raw and _encode(_decode_numbers_as_written(raw)) != raw:
        check_once(raw)
    return content


def check_once(raw: bytes) -> None:
    """Refuse any JSON in which a member stands twice, at whatever depth. Raises as `decode_once`."""
    try:
        json.loads(raw, object_pairs_hook=_check)
    except ValueError as broken:
        raise msgspec.DecodeError("ambiguous JSON") from broken


def _check(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a member stands twice")
