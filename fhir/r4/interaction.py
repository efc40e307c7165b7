"""Which FHIR interaction a request is: decided from method and path alone, before anything else is looked at.

FHIR R4 §3.1.0 (RESTful API). What isn't supported is named in the refusal and never forwarded. Paths are matched
undecoded: percent-encoding, dots and double slashes have no business in a FHIR path (docs/leaks.md L07, L73).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from fhir.r4.own_types import OWN_TYPES

_TYPE: Final = r"[A-Z][A-Za-z]{1,63}"
_ID: Final = r"[A-Za-z0-9\-.]{1,64}"
_READ: Final = re.compile(rf"/({_TYPE})/({_ID})")
_VREAD: Final = re.compile(rf"/({_TYPE})/({_ID})/_history/({_ID})")
_HISTORY: Final = re.compile(rf"/({_TYPE})/({_ID})/_history")
_SEARCH: Final = re.compile(rf"/({_TYPE})")
_POST_SEARCH: Final = re.compile(rf"/({_TYPE})/_search")
_EVERYTHING: Final = re.compile(rf"/Patient/({_ID})/\$everything")
_EXPORT: Final = re.compile(rf"(/Patient|/Group/{_ID})?/\$export")
_BASE: Final = ("", "/")
_MADE_OF_SEARCHES: Final = ("search-type", "search-system", "operation")
WRITES: Final = ("create", "update", "patch", "delete")
NOT_WRITTEN: Final = frozenset({*OWN_TYPES, "Binary", "Provenance"})
"""What Assent writes itself, what tells of who wrote, and what belongs to no category."""
_LASTING: Final = "Patient"
"""A record isn't begun and isn't ended by an app that was let into one."""


InteractionCode = Literal[
    "read",
    "vread",
    "history-instance",
    "search-type",
    "search-system",
    "operation",
    "batch",
    "capabilities",
    "create",
    "update",
    "patch",
    "delete",
    "export",
]


NO_EXPORT: Final = "bulk export is for backend services, each in a request of its own"
"""`fhir/export/app.py` answers theirs; whatever comes past it isn't one."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A supported interaction. `code` is a FHIR restful-interaction code; the one `operation` is `$everything`.

    `export` is no request's interaction (`fhir/export/app.py` answers those): it is asked about.
    """

    code: InteractionCode
    resource_type: str = ""
    id: str = ""
    version: str = ""

    @property
    def is_search(self) -> bool:
        """Whether it asks for what matches, and not for one resource by its id."""
        return self.code in _MADE_OF_SEARCHES

    @property
    def is_write(self) -> bool:
        """Whether it changes what is there."""
        return self.code in WRITES

    @property
    def path(self) -> str:
        """Where a search is asked, below the base: `Observation`, `Patient/p1/$everything`, nothing for all types."""
        return f"{self.resource_type}/{self.id}/$everything" if self.code == "operation" else self.resource_type


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A request that this server doesn't answer: HTTP status, FHIR issue code, text."""

    status: int
    code: str
    text: str
    allow: tuple[str, ...] = ()
    """The methods that the path does have, with 405 (RFC 9110 §15.5.6)."""


def interaction_of(method: str, path: str, *, writes: bool = False) -> Interaction | Unsupported:
    """Read the interaction from an undecoded path below the FHIR base (`/Patient/p1`); `writes`: whether apps may."""
    write = _write(method, path) if writes else None
    return write or _supported(method, path) or _unsupported(method, path, writes=writes)


_METHODS: Final = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


def is_written(interaction: Interaction) -> bool:
    """Whether apps write this type so, where they may write at all."""
    path = f"/{interaction.resource_type}" + ("" if interaction.code == "create" else f"/{interaction.id or 'any'}")
    return _write(_METHODS[interaction.code], path) is not None


def _write(method: str, path: str) -> Interaction | None:
    found = (_SEARCH if method == "POST" else _READ).fullmatch(path)
    if found is None or found[1] in NOT_WRITTEN or not {".", ".."}.isdisjoint(path.split("/")):
        return None
    if method == "POST":
        return None if found[1] == _LASTING else Interaction("create", found[1])
    match method:
        case "PUT":
            return Interaction("update", found[1], found[2])
        case "PATCH":
            return Interaction("patch", found[1], found[2])
        case "DELETE" if found[1] != _LASTING:
            return Interaction("delete", found[1], found[2])
    return None


def _supported(method: str, path: str) -> Interaction | None:
    if method == "POST":
        return _posted(path)
    if method not in ("GET", "HEAD") or not {".", ".."}.isdisjoint(path.split("/")):
        return None
    if path == "/metadata":
        return Interaction("capabilities")
    if found := _READ.fullmatch(path):
        return Interaction("read", found[1], found[2])
    if found := _SEARCH.fullmatch(path):
        return Interaction("search-type", found[1])
    if found := _VREAD.fullmatch(path):
        return Interaction("vread", found[1], found[2], found[3])
    if found := _HISTORY.fullmatch(path):
        return Interaction("history-instance", found[1], found[2])
    if found := _EVERYTHING.fullmatch(path):
        return Interaction("operation", "Patient", found[1])
    return Interaction("search-system") if path in _BASE else None


def _posted(path: str) -> Interaction | None:
    if path in _BASE:
        return Interaction("batch")
    if path == "/_search":
        return Interaction("search-system")
    if (found := _EVERYTHING.fullmatch(path)) and found[1] not in (".", ".."):
        return Interaction("operation", "Patient", found[1])
    found = _POST_SEARCH.fullmatch(path)
    return Interaction("search-type", found[1]) if found else None


def _unsupported(method: str, path: str, *, writes: bool) -> Unsupported:
    read_only = "apps don't write this, and no write is conditional" if writes else "this server is read-only for apps"
    methods = ("GET", "HEAD", "POST", *(("PUT", "PATCH", "DELETE") if writes else ()))
    if allow := tuple(m for m in methods if _supported(m, path) or (writes and _write(m, path))):
        text = read_only if method in _WRITES else "the method is not one for this path"
        return Unsupported(405, "not-supported", text, allow)
    if _EXPORT.fullmatch(path):
        return Unsupported(403, "forbidden", NO_EXPORT)
    for pattern, name in _NAMED:
        if pattern.fullmatch(path):
            return Unsupported(501, "not-supported", f"{name} is not supported")
    if method in _WRITES:
        return Unsupported(405, "not-supported", read_only)
    return Unsupported(404, "not-found", "there is nothing at this path")


_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_PLACE: Final = rf"(/{_TYPE}(/{_ID})?)?"
_NAMED: Final = (
    (re.compile(rf"{_PLACE}/\$graphql"), "GraphQL"),
    (re.compile(rf"{_PLACE}/\$export(-[a-z\-]+)?"), "bulk export"),
    (re.compile(rf"{_PLACE}/\$[a-z\-]+"), "this operation"),
    (re.compile(rf"{_PLACE}/_history"), "history"),
    (re.compile(rf"{_PLACE}/_search"), "this search"),
)
"""What FHIR has and this server hasn't; a path that is none of FHIR's is just not there."""
