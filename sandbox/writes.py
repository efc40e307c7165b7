"""create, update and delete of the built-in upstream (FHIR R4 §3.1.0): as a strict server does them.

It gives every id, changes nothing without `If-Match`, and brings nothing back that was deleted.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from fhir.r4.resource_body import text_of, top_level
from fhir.r4.strict_json import check_once
from fhir.store.repository import Repository, StoredResource, VersionConflict

MAX_RESOURCE: Final = 1024 * 1024
"""Bytes of a resource."""
_ETAG: Final = re.compile(rb'W/"([1-9][0-9]{0,8})"')


class WriteRefused(Exception):
    """HTTP status, FHIR issue code and a text."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


async def create(repository: Repository, kind: str, body: bytes) -> StoredResource:
    """Store under a new id. Raises WriteRefused."""
    return await repository.create(_resource(body, kind))


async def update(repository: Repository, kind: str, id: str, body: bytes, if_match: bytes | None) -> StoredResource:
    """The next version of the one that `If-Match` names. Raises WriteRefused."""
    resource = _resource(body, kind)
    if text_of(top_level(resource), "id") != id:
        raise WriteRefused(400, "invalid", "`id` must be the id in the address")
    version = await _started_from(repository, kind, id, if_match)
    try:
        return await repository.update(resource, expected_version=version)
    except VersionConflict:
        raise _stale() from None


async def delete(repository: Repository, kind: str, id: str, if_match: bytes | None) -> StoredResource:
    """A deleted version on top of the one that `If-Match` names. Raises WriteRefused."""
    version = await _started_from(repository, kind, id, if_match)
    try:
        return await repository.delete(kind, id, expected_version=version)
    except VersionConflict:
        raise _stale() from None


async def _started_from(repository: Repository, kind: str, id: str, if_match: bytes | None) -> int:
    found = await repository.read(kind, id)
    if found is None:
        raise WriteRefused(404, "not-found", "there is no resource with this id")
    if found.deleted:
        raise WriteRefused(410, "deleted", "the resource was deleted")
    named = _ETAG.fullmatch(if_match or b"")
    if named is None or int(named[1]) != found.version:
        raise _stale()
    return found.version


def _stale() -> WriteRefused:
    return WriteRefused(412, "conflict", "`If-Match` must name the current version")


def _resource(body: bytes, kind: str) -> bytes:
    try:
        body.decode()
        check_once(body)
        given = text_of(top_level(body), "resourceType")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WriteRefused(400, "structure", "the body is no JSON object") from None
    if given != kind:
        raise WriteRefused(400, "invalid", "`resourceType` must be the type in the address")
    return body
