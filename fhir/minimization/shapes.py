"""What a member holds: objects, or strings, numbers and booleans. R4 has one of the two in each place.

Where it isn't as R4 has it, what the member says is not what the mask lets through (docs/leaks.md L38), and the
resource is withheld (docs/masks.md).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Holds = Literal["objects", "plain", "nothing", "both"]
"""A list holds what its items are. Nulls hold nothing."""

_decode: Final = msgspec.json.Decoder(object).decode


def what_holds(value: object) -> Holds:
    """What a decoded member holds."""
    if type(value) is dict:  # decoded JSON has no subclasses
        return "objects"
    kinds = {type(item) for item in (value if type(value) is list else (value,)) if item is not None}
    if not kinds:
        return "nothing"
    if list in kinds or (dict in kinds and len(kinds) > 1):
        return "both"
    return "objects" if dict in kinds else "plain"


def raw_holds(raw: msgspec.Raw) -> Holds:
    """What a member holds, undecoded. Raises DecodeError."""
    first = bytes(memoryview(raw)[:1])
    return what_holds(_decode(raw)) if first in (b"{", b"[", b"n") else "plain"
