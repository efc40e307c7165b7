"""The Bundle that answers a search (FHIR R4 §3.1.1.1, §2.36.4): matches, what they include, and links to go on."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from fhir.r4.definitions import Definitions
from fhir.search.query import SearchQuery
from fhir.search.result_parameters import CURSOR
from fhir.store.repository import SearchPage, StoredResource
from sandbox.subset import summarized, with_elements


def searchset(query: SearchQuery, page: SearchPage, definitions: Definitions, *, base_url: str) -> bytes:
    """The searchset Bundle of one page, its links and full URLs absolute under `base_url`."""
    links = [{"relation": "self", "url": _url(base_url, query, query.cursor)}]
    if page.next_cursor is not None:
        links.append({"relation": "next", "url": _url(base_url, query, page.next_cursor)})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if page.total is not None:
        bundle["total"] = page.total
    bundle["link"] = links
    entries = [_entry(found, query, definitions, base_url, "match") for found in page.matches]
    entries += [_entry(found, query, definitions, base_url, "include") for found in page.included]
    if entries:
        bundle["entry"] = entries
    return msgspec.json.encode(bundle)


def _entry(
    found: StoredResource, query: SearchQuery, definitions: Definitions, base_url: str, mode: str
) -> dict[str, Any]:
    body = summarized(found.body, found.resource_type, query.summary, definitions)
    if mode == "match":
        body = with_elements(body, found.resource_type, query.elements, definitions)
    return {
        "fullUrl": f"{base_url}/{found.resource_type}/{found.id}",
        "resource": msgspec.Raw(body),
        "search": {"mode": mode},
    }


def _url(base_url: str, query: SearchQuery, cursor: str | None) -> str:
    parameters = [*query.parameters, *([(CURSOR, cursor)] if cursor is not None else [])]
    return f"{base_url}/{query.resource_type}" + (f"?{urlencode(parameters)}" if parameters else "")
