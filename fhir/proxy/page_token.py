"""Page links that say nothing and can't be forged: what a `next` link carries, sealed (docs/leaks.md L21).

The upstream's own link may hold patient data and internal host names, so the app gets it encrypted. A token opens for
the same binding (app, grant, patient, type) only, and for half an hour. FHIR R4 §3.1.1.4 (paging) leaves links opaque.
Its length says nothing either: the upstream's place may be that of a withheld resource, and is padded.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LIFETIME: Final = timedelta(minutes=30)
MAX_TOKEN: Final = 8_000
"""Characters; a longer token is refused unread."""
_NONCE: Final = 12
_ROOM: Final = 1_024
"""Bytes for what an upstream's link holds besides the question."""
_CONTEXT: Final = b"assent page token 1"


@dataclass(frozen=True, slots=True)
class PagePayload:
    """Where a search goes on. `position` counts the entries of the upstream page that were seen already."""

    upstream_url: str
    resource_type: str
    query: tuple[tuple[str, str], ...]
    """The parameters of the first request, which are checked again."""
    position: int
    issued_at: datetime
    place: str
    """Mark of the source in which it goes on."""
    passed: int = 0
    """Matches on the upstream's pages before that one."""


_decode: Final = msgspec.json.Decoder(PagePayload).decode


class PageSealer:
    """Seals and opens page tokens with AES-256-GCM under a key derived from `secret` (RFC 5869)."""

    def __init__(self, secret: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_CONTEXT).derive(secret)
        self._cipher = AESGCM(key)

    def seal(self, payload: PagePayload, *, binding: str, question: str) -> str:
        """A token that only the same `binding` opens. It may be longer than MAX_TOKEN: then it opens no more.

        `question`: what the upstream was asked first, which its links may repeat.
        """
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, _padded(payload, question), binding.encode())
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, token: str, *, binding: str, now: datetime) -> PagePayload | None:
        """What was sealed; None when it is foreign, altered, expired, from the future or too long."""
        if len(token) > MAX_TOKEN or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            payload = _decode(self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], binding.encode()))
        except (binascii.Error, ValueError, InvalidTag, msgspec.DecodeError):
            return None
        age = now - payload.issued_at
        return payload if timedelta(0) <= age < LIFETIME else None


def _padded(payload: PagePayload, question: str) -> bytes:
    """JSON with spaces after it, of a length that hangs on the questions alone: an app can't tune it to a boundary."""
    plain = msgspec.json.encode(payload)
    usual = len(msgspec.json.encode(payload.query)) + len(question) + _ROOM
    beyond = max(0, len(plain) - usual)
    return plain.ljust(usual + -(-beyond // _ROOM) * _ROOM)
