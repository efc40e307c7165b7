"""Reads a form that a page sent: urlencoded, small, every field once unless it is a group of checkboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

LARGEST: Final = 32_768
MOST_FIELDS: Final = 200
URLENCODED: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent: a field's values in order."""

    fields: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """Return a field's value; empty when it is missing or was sent twice."""
        values = self.fields.get(name, ())
        return values[0] if len(values) == 1 else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a group of checkboxes."""
        return self.fields.get(name, ())


async def read_form(request: Request) -> Form:
    """Read the body. Raises HTTPException 413, 415, 400."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, "the form is too large")
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if body and media_type != URLENCODED:
        raise HTTPException(415, f"a form must be sent as `{URLENCODED}`")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError as broken:
        raise HTTPException(400, "the form can't be read") from broken
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)
