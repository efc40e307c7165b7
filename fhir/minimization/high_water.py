"""A Bundle's confidentiality: that of the most confidential thing in it (FHIR R4, Security Labels, "high water mark").

It is read from the bytes that are sent, so it can't tell of anything that was withheld.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from policies.codes import CONFIDENTIALITY_SYSTEM
from policies.model import Coding
from policies.security_labels import LEVELS, confidentiality_of
from policies.system_names import usual_system


class _Label(msgspec.Struct):
    system: str = ""
    code: str = ""


class _Meta(msgspec.Struct):
    security: list[_Label] = []


class _Concept(msgspec.Struct):
    coding: list[_Label] = []


class _Contained(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Labelled(_Contained):
    contained: list[_Contained] = []
    securityLabel: list[_Concept] = []  # noqa: N815  # FHIR's own spelling; of DocumentReference


_decode = msgspec.json.Decoder(_Labelled).decode
_CODES: Final = {level: code for code, level in LEVELS.items()}


def bundle_meta(labelled: Sequence[bytes], entries: int) -> bytes:
    """The Bundle's `meta` member, comma first, for the bodies among its entries that may be labelled; empty for none.

    An entry without a confidentiality is normal; a label that can't be read counts as the highest.
    """
    levels = [level for body in labelled if (level := _level(body)) is not None]
    if not levels:
        return b""
    highest = max(levels) if len(levels) == entries else max(*levels, LEVELS["N"])
    label = {"system": CONFIDENTIALITY_SYSTEM, "code": _CODES[highest]}
    return b',"meta":{"security":[' + msgspec.json.encode(label) + b"]}"


def _level(body: bytes) -> int | None:
    try:
        labels = frozenset(_confidentialities(_decode(body)))
    except msgspec.DecodeError:
        return LEVELS["V"]
    return confidentiality_of(labels) if labels else None


def _confidentialities(resource: _Labelled) -> Iterator[Coding]:
    groups: Iterable[list[_Label]] = (
        resource.meta.security,
        *(inner.meta.security for inner in resource.contained),
        *(concept.coding for concept in resource.securityLabel),
    )
    for group in groups:
        for label in group:
            if usual_system(label.system) == CONFIDENTIALITY_SYSTEM:
                yield Coding(CONFIDENTIALITY_SYSTEM, label.code.strip())
