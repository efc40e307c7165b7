"""The Bundle that answers an instance history (FHIR R4 §3.1.0.9): every version, newest first, page by page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from fhir.r4.resource_body import instant
from fhir.search.literals import SearchError
from fhir.store.repository import MAX_VERSION, StoredResource

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_DEFAULT_COUNT: Final = 50
BEFORE: Final = "_before"
"""Parameter of a link to the next page: the version where the page before ended."""


def read_paging(parameters: Sequence[tuple[str, str]], max_count: int) -> tuple[int, int]:
    """`_count`, and the version before which the page begins. Raises SearchError for any other parameter."""
    found = {"_count": _DEFAULT_COUNT, BEFORE: MAX_VERSION}
    for name, value in parameters:
        if name == "_format":
            continue
        if name not in found:
            raise SearchError("not-supported", name, "a history takes `_count` and `_format` only")
        if _NUMBER.fullmatch(value) is None:
            raise SearchError("value", name, "a whole number from 1 is needed")
        found[name] = int(value)
    return min(found["_count"], max_count), found[BEFORE]


def history(name: str, versions: Sequence[StoredResource], count: int, *, base_url: str) -> bytes:
    """The page of `Type/id`; `versions` holds one more than `count` when there is a next one."""
    page = versions[:count]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history"}
    if len(versions) > count:
        query = urlencode({"_count": count, BEFORE: page[-1].version})
        bundle["link"] = [{"relation": "next", "url": f"{base_url}/{name}/_history?{query}"}]
    bundle["entry"] = [_entry(name, version, base_url) for version in page]
    return msgspec.json.encode(bundle)


def _entry(name: str, version: StoredResource, base_url: str) -> dict[str, Any]:
    status = "204 No Content" if version.deleted else "201 Created" if version.version == 1 else "200 OK"
    entry: dict[str, Any] = {
        "fullUrl": f"{base_url}/{name}",
        "request": {"method": "DELETE" if version.deleted else "PUT", "url": name},
        "response": {
            "status": status,
            "etag": f'W/"{version.version}"',
            "lastModified": instant(version.last_updated),
        },
    }
    if not version.deleted:
        entry["resource"] = msgspec.Raw(version.body)
    return entry
