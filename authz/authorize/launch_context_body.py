"""What an EHR may say about a launch: SMART App Launch 2.2, "Scopes and launch context", checked member by member.

The names are those of the token response, so that what was checked is passed on as it is. A member that isn't known,
or isn't what it must be, refuses the whole body: an app must never get a context that means something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

MAX_FHIR_CONTEXT: Final = 20
_MAX_TEXT: Final = 256
_MAX_URL: Final = 2_000
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}", re.ASCII)
_REFERENCE: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/[A-Za-z0-9.-]{1,64}", re.ASCII)
_PEOPLE: Final = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class LaunchBodyRefused(ValueError):
    """The body can't be a launch context; the text is for the EHR's developer and quotes nothing of the body."""


def check_launch_body(body: Mapping[str, Any], fhir_base: str) -> dict[str, Any]:
    """The context, with `user` relative to the FHIR base. `client_id` isn't a part of it. Raises LaunchBodyRefused."""
    if body.keys() - _MEMBERS.keys():
        raise LaunchBodyRefused(f"the members of a launch are {', '.join(f'`{name}`' for name in _MEMBERS)}, no others")
    context = dict(body)
    if isinstance(context.get("user"), str):
        context["user"] = context["user"].removeprefix(f"{fhir_base}/")  # fhirUser may be absolute or relative
    for name, value in context.items():
        fits, rule = _MEMBERS[name]
        if not fits(value):
            raise LaunchBodyRefused(f"`{name}` must be {rule}")
    if not context:
        raise LaunchBodyRefused("a launch must say something: name at least one member")
    if "encounter" in context and "patient" not in context:
        raise LaunchBodyRefused("`encounter` needs the `patient` whose encounter it is")
    return context


def _id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _user(value: object) -> bool:
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and found[1] in _PEOPLE


def _text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()


def _style_url(value: object) -> bool:
    if not _url(value):
        return False
    parts = urlsplit(str(value))
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _url(value: object) -> bool:
    """An absolute URI of bounded length."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_URL or not value.isascii() or not value.isprintable():
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not set(' "<>\\^`{}') & set(value)


def _fhir_context(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_FHIR_CONTEXT and all(_item(item) for item in value)


def _item(value: object) -> bool:
    """SMART 2.2, `fhirContext`: at least one of reference, canonical and identifier."""
    if not isinstance(value, dict) or value.keys() - _ITEM.keys():
        return False
    return (
        all(_ITEM[name](member) for name, member in value.items())
        and bool(value.keys() & {"reference", "canonical", "identifier"})
        and _type_of(value) not in _NEED_A_ROLE.get(value.get("role", "launch"), frozenset())
    )


def _type_of(item: Mapping[str, Any]) -> str:
    return str(item.get("reference", "")).partition("/")[0] or str(item.get("type", ""))


def _reference(value: object) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def _resource_type(value: object) -> bool:
    return isinstance(value, str) and _TYPE.fullmatch(value) is not None


def _role(value: object) -> bool:
    """`launch`, the one relative role that SMART 2.2 defines, or an absolute URI."""
    return value == "launch" or _url(value)


def _identifier(value: object) -> bool:
    if not isinstance(value, dict) or not value or value.keys() - {"use", "system", "value"}:
        return False
    return "value" in value and all(_text(member) for member in value.values())


_NEED_A_ROLE: Final = {"launch": frozenset({"Patient", "Encounter"})}
"""Whose record and which encounter is launched for stands at the top level only (SMART 2.2, `fhirContext`)."""
_ITEM: Final[Mapping[str, Callable[[object], bool]]] = {
    "reference": _reference,
    "canonical": _url,
    "identifier": _identifier,
    "type": _resource_type,
    "role": _role,
}
_MEMBERS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "patient": (_id, "the logical id of a Patient"),
    "encounter": (_id, "the logical id of an Encounter"),
    "user": (_user, "a fhirUser such as `Practitioner/123`"),
    "fhirContext": (
        _fhir_context,
        f"a list of 1 to {MAX_FHIR_CONTEXT} objects of `reference`, `canonical`, `identifier`, `type` and `role`"
        " (SMART App Launch 2.2)",
    ),
    "need_patient_banner": (lambda value: isinstance(value, bool), "true or false"),
    "intent": (_text, f"1 to {_MAX_TEXT} printable characters"),
    "smart_style_url": (_style_url, "an https URL"),
    "tenant": (_text, f"1 to {_MAX_TEXT} printable characters"),
}
