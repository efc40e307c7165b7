"""Stylesheet, mark and script, served under names that hold their content's hash, so that they can be kept for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from fastapi import APIRouter, Response

MEDIA_TYPES: Final = {
    "portal.css": "text/css; charset=utf-8",
    "mark.svg": "image/svg+xml",
    "passkeys.js": "text/javascript; charset=utf-8",
}
HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is served."""

    address: str
    body: bytes
    media_type: str


def load_static_files() -> Mapping[str, StaticFile]:
    """Read the files, by their own names."""
    files: dict[str, StaticFile] = {}
    for name, media_type in MEDIA_TYPES.items():
        body = (resources.files("portal") / "static" / name).read_bytes()
        stem, _, suffix = name.rpartition(".")
        address = f"/static/{stem}-{hashlib.sha256(body).hexdigest()[:16]}.{suffix}"
        files[name] = StaticFile(address, body, media_type)
    return files


def add_static_files(router: APIRouter, files: Mapping[str, StaticFile]) -> None:
    """Serve each file at its address and at no other."""
    for file in files.values():
        router.add_api_route(file.address, _Served(file).answer, methods=["GET", "HEAD"], include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Served:
    file: StaticFile

    async def answer(self) -> Response:
        return Response(self.file.body, media_type=self.file.media_type, headers=HEADERS)
