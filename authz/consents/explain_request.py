"""What `$explain` is asked: as parameters of a GET, or as a Parameters resource that is posted (FHIR R4 §3.2.0.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fhir.proxy.request import ProxyRefusal
from fhir.r4.asked_interaction import UnfitQuestion, asked_interaction
from fhir.r4.interaction import Interaction
from fhir.r4.strict_json import decode_once
from fhir.writes.request import read_pairs

MAX_PARAMETERS: Final = 16_384
"""Bytes of a Parameters resource."""
_NAMES: Final = ("client", "interaction", "type", "resource", "query", "purpose", "user")
_RESOURCE: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")
PERSONS: Final = ("Patient", "Practitioner", "PractitionerRole", "RelatedPerson")


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A question that is well put."""

    client: str
    """Empty: the app that the Consent names."""
    purpose: str
    """Empty: as the client or the Consent has it."""
    interaction: Interaction
    """Without an id it asks about the type."""
    parameters: tuple[tuple[str, str], ...]
    """Of a search."""
    user: str = ""
    """The person behind the app, `Type/id`; empty for nobody whom FHIR knows."""


def read_parameters(parameters: Sequence[tuple[str, str]]) -> ExplainRequest:
    """Read the question from a query. Raises ProxyRefusal."""
    pairs = [pair for pair in parameters if pair[0] != "_format"]
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= set(_NAMES):
        names = ", ".join(f"`{name}`" for name in _NAMES)
        raise ProxyRefusal(400, "not-supported", f"$explain takes {names}, each once")
    name = given.get("interaction", "search-type" if "query" in given else "read")
    if "query" in given and name != "search-type":
        raise ProxyRefusal(400, "invalid", "`query` is for `search-type`")
    about, kind = given.get("resource", given.get("type", "")), given.get("type")
    if not about:
        raise ProxyRefusal(400, "required", "`type` (a resource type of R4) or `resource` is needed")
    if kind not in (None, about.partition("/")[0]) or ("resource" in given) is not ("/" in about):
        raise ProxyRefusal(400, "value", "`resource` must be `Type/id`, and of the `type` if there is one")
    try:
        interaction = asked_interaction(name, about)
    except UnfitQuestion as unfit:
        raise ProxyRefusal(400, "value", str(unfit)) from None
    return ExplainRequest(
        given.get("client", ""),
        given.get("purpose", ""),
        interaction,
        read_pairs(given.get("query", ""), "query"),
        _user(given),
    )


def read_parameters_resource(body: bytes) -> ExplainRequest:
    """Read the question from a Parameters resource. Raises ProxyRefusal."""
    try:
        content: Any = decode_once(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise ProxyRefusal(400, "structure", "the body is no JSON object in which every member stands once") from broken
    listed = content.get("parameter", [])
    if content.get("resourceType") != "Parameters" or not isinstance(listed, list):
        raise ProxyRefusal(400, "structure", "the body must be a Parameters resource")
    return read_parameters([_pair(item) for item in listed])


def _pair(item: object) -> tuple[str, str]:
    """`valueString`, `valueCode`, `valueUri` or `valueReference`: all of them are texts here."""
    if isinstance(item, dict) and isinstance(name := item.get("name"), str):
        values = [value for key, value in item.items() if key != "name"]
        value = values[0] if len(values) == 1 else None
        if "valueReference" in item and isinstance(value, dict):
            value = value.get("reference")
        if isinstance(value, str):
            return name, value
    raise ProxyRefusal(400, "structure", "each parameter needs a `name` and one value, a text or a reference")


def _user(given: Mapping[str, str]) -> str:
    if "user" in given and not is_person(given["user"]):
        raise ProxyRefusal(400, "value", f"`user` must be `Type/id`, of {', '.join(PERSONS)}")
    return given.get("user", "")


def is_person(name: str) -> bool:
    """Whether it is `Type/id` of somebody who uses apps."""
    found = _RESOURCE.fullmatch(name)
    return found is not None and found[1] in PERSONS
