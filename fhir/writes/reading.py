"""What the proxy takes from a request that writes: the headers that decide how it is meant, and a bounded body."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhir.proxy.request import ProxyRefusal, ProxyRequest
from fhir.proxy.responses import Receive, Scope
from fhir.r4.interaction import Interaction, interaction_of
from fhir.r4.json_patch import MAX_PATCH
from fhir.writes.content import MAX_RESOURCE
from fhir.writes.request import JSON_TYPES, PATCH_TYPES, WriteHeaders, read_body, read_headers

_FORMATS: Final = ("json", "application/json", "application/fhir+json")


async def read_write(scope: Scope, receive: Receive, request: ProxyRequest) -> ProxyRequest:
    """The request with what a write needs; any other as it is. Raises ProxyRefusal."""
    interaction = interaction_of(request.method, request.path, writes=True)
    if not isinstance(interaction, Interaction) or not interaction.is_write:
        return request
    if any(name != "_format" or value not in _FORMATS for name, value in request.parameters):
        raise ProxyRefusal(400, "not-supported", "a write takes no parameters; conditional writes are not supported")
    headers = read_headers(scope)
    _check_conditions(headers)
    body = b""
    if interaction.code == "patch":
        body = await read_body(receive, headers.content_type, PATCH_TYPES, MAX_PATCH)
    elif interaction.code != "delete":
        body = await read_body(receive, headers.content_type, JSON_TYPES, MAX_RESOURCE)
    return replace(request, body=body, write=headers)


def _check_conditions(headers: WriteHeaders) -> None:
    """A condition other than `If-Match` would ask of what is there (docs/leaks.md L44)."""
    given = (headers.if_none_exist, headers.if_none_match, headers.if_unmodified_since)
    for name, value in zip(("If-None-Exist", "If-None-Match", "If-Unmodified-Since"), given, strict=True):
        if value is not None:
            raise ProxyRefusal(501, "not-supported", f"`{name}` is not supported; send `If-Match` with the version")
