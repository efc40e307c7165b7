"""The cursor of a search: where the next page starts, sealed.

It holds the sort keys of the last match (names and dates of patients, perhaps) and travels in a URL; so it is
encrypted, and bound to the search that it was made for. Whoever has the key reads it: servers that share a store
share the key.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from fhir.search.literals import SearchError
from fhir.search.query import SearchQuery
from fhir.search.result_parameters import CURSOR

_MAX_LENGTH: Final = 8192


class CursorSeal:
    """Seals and opens cursors under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(urlsafe_b64encode(key))

    def seal(self, query: SearchQuery, keys: Sequence[Any]) -> str:
        """The cursor behind a match whose sort keys, with its pk as the last, are `keys`."""
        content = msgspec.json.encode([_digest(query), *keys])
        return self._fernet.encrypt(content).decode("ascii")

    def open(self, query: SearchQuery, cursor: str) -> list[Any]:
        """The keys sealed for this very search. Raises SearchError for anything else."""
        unfit = SearchError("value", CURSOR, f"`{CURSOR}` does not belong to this search; start at its first page")
        try:
            content = msgspec.json.decode(self._fernet.decrypt(cursor[:_MAX_LENGTH].encode("utf-8", "replace")))
        except (InvalidToken, msgspec.DecodeError):
            raise unfit from None
        if content[0] != _digest(query) or len(content) != len(query.sort) + 2:
            raise unfit
        try:
            keys = [_typed(key.kind, value) for key, value in zip(query.sort, content[1:-1], strict=True)]
        except (ValueError, InvalidOperation):
            raise unfit from None
        return [*keys, content[-1]]


def _digest(query: SearchQuery) -> str:
    asked = [query.resource_type, sorted(query.parameters)]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:32]


def _typed(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "date":
        return datetime.fromisoformat(value)
    return Decimal(value) if kind in ("number", "quantity") else value
