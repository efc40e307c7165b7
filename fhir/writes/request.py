"""What a write says outside its resource: preconditions, preferences, the body. FHIR R4 §3.1.0; RFC 9110 §13.

A precondition that can't be read never holds: taking it for absent would overwrite what somebody meant to protect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final, Literal
from urllib.parse import parse_qsl

from fhir.proxy.request import ProxyRefusal, whole_body
from fhir.proxy.responses import Receive, Scope
from fhir.r4.media_types import is_r4, media_type
from fhir.r4.resource_body import etag
from fhir.store.repository import StoredResource

JSON_TYPES: Final = frozenset({"application/fhir+json", "application/json"})
PATCH_TYPES: Final = frozenset({"application/json-patch+json"})
Returning = Literal["minimal", "representation", "OperationOutcome"]

_ETAG: Final = re.compile(r'W/"([0-9]{1,9})"|"([0-9]{1,9})"')
_RETURNS: Final[dict[str, Returning]] = {
    "minimal": "minimal",
    "representation": "representation",
    "operationoutcome": "OperationOutcome",
}
_PARAMETERS: Final = frozenset({"charset", "fhirversion"})
_NAMES: Final = ("if-match", "if-none-match", "if-unmodified-since", "if-none-exist", "prefer", "content-type")


@dataclass(frozen=True, slots=True)
class WriteHeaders:
    """The headers that decide how a request is meant. None: not sent."""

    if_match: str | None
    if_none_match: str | None
    if_none_exist: str | None
    prefer: str | None
    content_type: str
    if_unmodified_since: str | None = None

    def holds_for(self, version: int) -> bool:
        """Whether the preconditions allow a change of this version.

        `If-Match` is optional, and the only one that can hold: a change is never the first version, and a second is
        longer than two changes may be apart.
        """
        if self.if_none_match is not None:
            return False
        if self.if_match is None:
            return self.if_unmodified_since is None
        return _names(self.if_match, version)

    @property
    def holds_for_new(self) -> bool:
        """Whether the preconditions allow a create: there is no version that they could be about."""
        return (self.if_match, self.if_none_match, self.if_unmodified_since) == (None, None, None)

    def is_known(self, version: int) -> bool:
        """Whether `If-None-Match` says that the caller has this version already."""
        return self.if_none_match is not None and _names(self.if_none_match, version)

    @property
    def returning(self) -> Returning:
        """What `Prefer: return=` asks for; the whole resource unless told otherwise."""
        for part in (self.prefer or "").split(","):
            name, _, value = part.strip().partition("=")
            if name.strip().lower() == "return":
                return _RETURNS.get(value.strip().strip('"').lower(), "representation")
        return "representation"


def read_headers(scope: Scope) -> WriteHeaders:
    """Those of a request. Raises ProxyRefusal when one of them stands twice."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in _NAMES:
            if name in found:
                raise ProxyRefusal(400, "invalid", f"the header `{name}` stands twice")
            found[name] = value.decode("latin-1")
    return WriteHeaders(
        found.get("if-match"),
        found.get("if-none-match"),
        found.get("if-none-exist"),
        found.get("prefer"),
        found.get("content-type", ""),
        found.get("if-unmodified-since"),
    )


async def read_body(receive: Receive, content_type: str, allowed: frozenset[str], most: int) -> bytes:
    """The body of a write, if it is R4 of an allowed type in UTF-8. Raises ProxyRefusal."""
    try:
        kind, parameters = media_type(content_type)
    except ValueError as broken:
        raise ProxyRefusal(415, "not-supported", str(broken)) from broken
    if not is_r4(parameters):
        text = "this server speaks FHIR R4 (`fhirVersion=4.0`); a body in another release isn't converted"
        raise ProxyRefusal(415, "not-supported", text)
    charset = parameters.get("charset", "utf-8").lower()
    if kind not in allowed or charset != "utf-8" or not _PARAMETERS.issuperset(parameters):
        raise ProxyRefusal(415, "not-supported", f"the body must be {' or '.join(sorted(allowed))}, in UTF-8")
    return await whole_body(receive, most)


def read_pairs(text: str, what: str) -> tuple[tuple[str, str], ...]:
    """A search that stands in a header or a parameter, `what` for the caller. Raises ProxyRefusal."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=20)
    except ValueError as broken:
        raise ProxyRefusal(400, "invalid", f"`{what}` is not a search") from broken
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise ProxyRefusal(400, "invalid", f"`{what}` is not a search")
    return tuple(pairs)


def version_headers(stored: StoredResource, location: str | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """`ETag` and `Last-Modified` of a version; `Location` with it when a write made it."""
    headers = (
        (b"etag", etag(stored.version).encode()),
        (b"last-modified", http_date(stored.last_updated).encode()),
    )
    return headers if location is None else (*headers, (b"location", location.encode()))


def http_date(moment: datetime) -> str:
    """RFC 9110 §5.6.7."""
    return format_datetime(moment, usegmt=True)


def _names(listed: str, version: int) -> bool:
    if listed.strip() == "*":
        return True
    found = [_ETAG.fullmatch(part.strip()) for part in listed.split(",")]
    return any(tag is not None and int(tag[1] or tag[2]) == version for tag in found)
