"""What a Parameters resource says, as the pairs that a query would hold (FHIR R4 §3.2.0): an operation takes either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from fhir.proxy.request import FHIR_BODY, MAX_FORM, ProxyRefusal, ProxyRequest, read_body, single_headers
from fhir.proxy.responses import Receive, Scope
from fhir.r4.strict_json import decode_once

_EVERYTHING: Final = {"_type": "valueCode", "_since": "valueInstant", "_count": "valueInteger"}


async def with_parameters(scope: Scope, receive: Receive, request: ProxyRequest) -> ProxyRequest:
    """The request, if it posts to `$everything` with what its Parameters say. Raises ProxyRefusal."""
    if request.method != "POST" or not request.path.endswith("/$everything"):
        return request
    headers = single_headers(scope)
    if headers.get(b"content-length") == b"0":  # with or without a type: nothing is said
        return request
    body = await read_body(headers, receive, FHIR_BODY, MAX_FORM)
    return replace(request, parameters=(*request.parameters, *read_parameters(body, _EVERYTHING)))


def read_parameters(body: bytes, taken: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The pairs of a Parameters resource. Raises ProxyRefusal.

    `taken` names the member for the value of each known parameter; whoever uses the pairs refuses the others by name.
    """
    try:
        resource = decode_once(body)
    except (msgspec.DecodeError, RecursionError):
        raise ProxyRefusal(400, "invalid", "the body is no JSON object whose members stand once") from None
    given = resource.get("parameter", [])
    if resource.get("resourceType") != "Parameters" or not isinstance(given, list):
        raise ProxyRefusal(400, "invalid", "the body must be a Parameters resource")
    return tuple(_pair(parameter, taken) for parameter in given)


def _pair(parameter: object, taken: Mapping[str, str]) -> tuple[str, str]:
    name = parameter.get("name") if isinstance(parameter, dict) else None
    if not isinstance(parameter, dict) or not isinstance(name, str):
        raise ProxyRefusal(400, "invalid", "each parameter has a name")
    member = taken.get(name)
    if member is None:
        return name, ""
    value = parameter.get(member)
    if len(parameter) > 2 or type(value) is not (int if member == "valueInteger" else str):
        raise ProxyRefusal(400, "invalid", f"`{name}` has one `{member}`")
    return name, str(value)
