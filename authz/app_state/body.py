"""What apps may keep: a `Basic` by SMART App Launch 2.2, "App State", and its profile `smart-app-state-basic`.

Kept is exactly what the specification lets an app send. Anything else in the resource is refused by name, because an
app would take it for kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from fhir.proxy.request import ProxyRefusal
from fhir.r4.strict_json import decode_once

MAX_STATE: Final = 262_144
"""Bytes of a resource as it is sent: SMART 2.2 asks for 256 KB."""
_SUBJECTS: Final = "Patient|Practitioner|PractitionerRole|RelatedPerson|Person"
_MEMBERS: Final = frozenset({"resourceType", "id", "meta", "code", "subject", "extension"})
_META: Final = frozenset({"versionId", "lastUpdated", "profile"})
_CODING: Final = frozenset({"system", "version", "code", "display"})
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s|,\x00-\x1f\x7f]{1,500}")
_CODE: Final = re.compile(r"[^\s|,\x00-\x1f\x7f]+( [^\s|,\x00-\x1f\x7f]+)*")
_Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StateBody:
    """A resource that may be kept."""

    content: Mapping[str, Any]
    """Without `id` and the versions of `meta`: these are the server's."""
    id: str | None
    version_given: bool
    code: str
    """`system|code`."""
    subject: str
    """Reference below the FHIR base, such as `Patient/p1`; empty for what holds for all users of the app."""


def read_state(raw: bytes, fhir_base: str) -> StateBody:
    """The resource that a body holds. Raises ProxyRefusal: 400 for what is no JSON object, 422 for the rest."""
    try:
        found = decode_once(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise ProxyRefusal(
            400, "structure", "the body is not a JSON object, or a member in it stands twice"
        ) from broken
    if found.get("resourceType") != "Basic":
        raise _refused("`resourceType` must be Basic")
    if unknown := sorted(found.keys() - _MEMBERS):
        raise _refused(f"`{unknown[0][:64]}` can't be kept; a state has `code`, `subject` and `extension`")
    id, meta = found.get("id"), _object(found, "meta", _META)
    if "id" in found and not isinstance(id, str):
        raise _refused("`id` must be a text")
    _check_meta(meta)
    _check_extensions(found.get("extension", []))
    kept: tuple[str, ...] = ("resourceType", "code", "subject", "extension")
    content: dict[str, Any] = {name: found[name] for name in kept if name in found}
    if "profile" in meta:
        content["meta"] = {"profile": meta["profile"]}
    return StateBody(
        content,
        id if isinstance(id, str) else None,
        "versionId" in meta,
        _code_of(found),
        _subject_of(found, fhir_base),
    )


def written(content: _Object, id: str, version: int, updated: datetime) -> bytes:
    """The resource as it is kept and shown."""
    moment = updated.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    meta = {"versionId": str(version), "lastUpdated": moment, **content.get("meta", {})}
    rest = {name: value for name, value in content.items() if name not in ("resourceType", "meta")}
    return msgspec.json.encode({"resourceType": "Basic", "id": id, "meta": meta, **rest})


def subject_in(reference: str, fhir_base: str) -> str | None:
    """An absolute reference to a person of this server, below its base; None for anything else."""
    found = re.fullmatch(rf"{re.escape(fhir_base)}/((?:{_SUBJECTS})/[A-Za-z0-9.-]{{1,64}})", reference, re.ASCII)
    return None if found is None else found[1]


def is_state_code(text: str) -> bool:
    """Whether a text is `system|code`."""
    system, _, code = text.partition("|")
    return _URI.fullmatch(system) is not None and len(code) <= 500 and _CODE.fullmatch(code) is not None


def _code_of(found: _Object) -> str:
    codings = _object(found, "code", frozenset({"coding"})).get("coding")
    if not isinstance(codings, list) or len(codings) != 1 or not isinstance(codings[0], dict):
        raise _refused("`code.coding` must hold exactly one Coding")
    coding = codings[0]
    if coding.keys() - _CODING or not all(isinstance(value, str) and value for value in coding.values()):
        raise _refused("`code.coding` may have `system`, `version`, `code` and `display`, each a text")
    text = f"{coding.get('system', '')}|{coding.get('code', '')}"
    if not is_state_code(text):
        raise _refused("`code.coding` needs a `system` that is a URI and a `code`, without `|` and `,`")
    return text


def _subject_of(found: _Object, fhir_base: str) -> str:
    if "subject" not in found:
        return ""
    named = _object(found, "subject", frozenset({"reference"}))
    reference = named.get("reference")
    subject = subject_in(reference, fhir_base) if isinstance(reference, str) else None
    if subject is None:
        types = _SUBJECTS.replace("|", ", ")
        raise _refused(f"`subject` must hold just `reference`: absolute, below {fhir_base}, one of {types}")
    return subject


def _check_meta(meta: _Object) -> None:
    profiles = meta.get("profile", [])
    texts = all(isinstance(meta.get(name, ""), str) for name in ("versionId", "lastUpdated"))
    if not texts or not isinstance(profiles, list) or not all(isinstance(p, str) and p for p in profiles):
        raise _refused("`meta` is malformed")


def _check_extensions(extensions: object) -> None:
    if not isinstance(extensions, list) or not all(map(_is_text, extensions)):
        raise _refused("`extension` must hold extensions with `url` and `valueString` only")


def _is_text(extension: object) -> bool:
    if not isinstance(extension, dict) or extension.keys() != {"url", "valueString"}:
        return False
    url, value = extension["url"], extension["valueString"]
    return isinstance(url, str) and _URI.fullmatch(url) is not None and isinstance(value, str) and value != ""


def _object(found: _Object, name: str, members: frozenset[str]) -> _Object:
    """A member that is an object with no other members than these; empty when it isn't there."""
    value = found.get(name, {})
    if not isinstance(value, dict) or value.keys() - members:
        raise _refused(f"`{name}` must be an object with {', '.join(f'`{m}`' for m in sorted(members))}, nothing else")
    return value


def _refused(text: str) -> ProxyRefusal:
    return ProxyRefusal(422, "invalid", text)
