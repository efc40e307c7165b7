"""`authorization_details` of the one type that this server knows (RFC 9396): what scopes can't say about a consent.

It only ever takes away: categories of what the scopes ask for, a duration at most, and a purpose that the app might
name anyway. Pure: what is registered, and what the scopes touch, is for the caller to compare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from policies.catalogue import Catalogue, Duration

TYPE: Final = "urn:assent:consent"
_MEMBERS: Final = frozenset({"type", "locations", "categories", "purpose", "duration"})
_MAX_LENGTH: Final = 4_096


class InvalidDetails(Exception):
    """RFC 9396 §5: of an unknown type, with unknown members, or with values that this server doesn't know."""


@dataclass(frozen=True, slots=True)
class AskedDetails:
    """What an app asks for besides its scopes; None where it names nothing."""

    categories: frozenset[str] | None = None
    purpose: str | None = None
    """Any text; empty isn't one."""
    duration: Duration | None = None


def read_details(text: str, *, catalogue: Catalogue, audience: str) -> AskedDetails:
    """A JSON array of one element of `TYPE`; `audience` is the FHIR base. Raises InvalidDetails."""
    element = _element(text)
    if element.get("type") != TYPE:
        raise InvalidDetails(f"the only `type` is `{TYPE}`")
    if element.keys() - _MEMBERS:
        raise InvalidDetails("it may hold `type`, `locations`, `categories`, `purpose` and `duration`, nothing else")
    if "locations" in element and [url.rstrip("/") for url in _texts(element, "locations")] != [audience]:
        raise InvalidDetails("`locations` must be the FHIR base URL alone")  # RFC 9396 §2.2
    return AskedDetails(_categories(element, catalogue), _purpose(element), _duration(element, catalogue))


def _element(text: str) -> Mapping[str, Any]:
    if len(text) > _MAX_LENGTH:
        raise InvalidDetails(f"it may have at most {_MAX_LENGTH} characters")
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_no_json)
    except (ValueError, RecursionError) as broken:
        raise InvalidDetails("it must be JSON") from broken
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        raise InvalidDetails("it must be an array of one object")
    return found[0]


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidDetails("a member stands twice")
    return found


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _texts(element: Mapping[str, Any], name: str) -> list[str]:
    value = element[name]
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise InvalidDetails(f"`{name}` must be an array of texts")
    return value


def _categories(element: Mapping[str, Any], catalogue: Catalogue) -> frozenset[str] | None:
    if "categories" not in element:
        return None
    named = _texts(element, "categories")
    found = frozenset(named)
    if len(found) != len(named) or not found <= catalogue.codes - catalogue.always:
        raise InvalidDetails("`categories` must be codes of data categories that people are asked about, each once")
    return found


def _purpose(element: Mapping[str, Any]) -> str | None:
    purpose = element.get("purpose")
    if "purpose" in element and (not isinstance(purpose, str) or not purpose):
        raise InvalidDetails("`purpose` must be a code")
    return purpose


def _duration(element: Mapping[str, Any], catalogue: Catalogue) -> Duration | None:
    if "duration" not in element:
        return None
    code = element["duration"]
    if not isinstance(code, str) or code not in catalogue.durations:
        raise InvalidDetails("`duration` must be the code of a duration that people can choose")
    return catalogue.durations[code]
