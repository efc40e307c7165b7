"""What the proxy takes from an HTTP request: bounded, decoded once, and nothing else (docs/leaks.md L07, L72, L75)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from fhir.proxy.presented_token import PresentedToken
from fhir.proxy.responses import Receive, Scope
from fhir.r4.media_types import is_r4, media_type

if TYPE_CHECKING:
    from fhir.writes.request import WriteHeaders

MAX_QUERY: Final = 8_192
MAX_FORM: Final = 65_536
MAX_BUNDLE: Final = 262_144
FHIR_PREFIX: Final = "/fhir"
_REQUEST_KEY: Final = "assent.request"
_CERTIFICATE_KEY: Final = "assent.certificate"
_FORM: Final = (b"application/x-www-form-urlencoded",)
FHIR_BODY: Final = (b"application/fhir+json", b"application/json")
FHIR_JSON: Final = frozenset({*FHIR_BODY, b"text/json"})
_LAYOUT: Final = (("_pretty", "true"), ("_pretty", "false"))
"""R4 §3.1.0.1.5 lets every request ask for it. What is answered stays laid out as the upstream wrote it."""
_ACCEPTABLE: Final = FHIR_JSON | {b"*/*", b"application/*", b""}


class ProxyRefusal(Exception):
    """An answer that is no: HTTP status, FHIR issue code, a text for the caller."""

    def __init__(self, status: int, code: str, text: str, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.headers = status, code, text, headers


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A request below the FHIR base."""

    method: str
    path: str
    """Undecoded, below the base: `/Patient/p1`."""
    parameters: tuple[tuple[str, str], ...]
    token: PresentedToken
    request_id: str
    log: dict[str, object]
    """Where the shell looks for what its access log may say: `route`, `client_id`."""
    accept: bytes = b""
    """The Accept header."""
    body: bytes = b""
    """Of a batch or a write; a search's form is among the parameters."""
    write: WriteHeaders | None = None
    """Of a write, the headers that decide how it is meant."""


async def read_request(scope: Scope, receive: Receive) -> ProxyRequest:
    """Read method, path, parameters (URL and form body) and the access token. Raises ProxyRefusal."""
    headers = single_headers(scope)
    method = str(scope["method"])
    raw_path = bytes(scope.get("raw_path") or str(scope["path"]).encode()).split(b"?")[0].decode("latin-1")
    query = bytes(scope.get("query_string", b""))
    if len(query) > MAX_QUERY:
        raise ProxyRefusal(414, "too-long", f"the query may have at most {MAX_QUERY} bytes")
    parameters, body = read_pairs(query), b""
    if method == "POST" and raw_path.endswith("/_search"):
        parameters += read_pairs(await read_body(headers, receive, _FORM, MAX_FORM))
    elif method == "POST" and raw_path.rstrip("/") == FHIR_PREFIX:
        body = await read_body(headers, receive, FHIR_BODY, MAX_BUNDLE)
    if parameters:
        parameters = tuple(pair for pair in parameters if pair not in _LAYOUT)
    proof, certificate = _text(headers, b"dpop"), scope.get(_CERTIFICATE_KEY)
    token = PresentedToken(_text(headers, b"authorization"), method, raw_path, proof, certificate)
    return ProxyRequest(
        method,
        raw_path.removeprefix(FHIR_PREFIX),
        parameters,
        token,
        str(scope.get(_REQUEST_KEY, {}).get("id", "")),
        scope.get(_REQUEST_KEY, {}),
        headers.get(b"accept", b""),
        body,
    )


def single_headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers by their names in lower case. Raises ProxyRefusal when one that decides stands twice."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in found and name in (b"authorization", b"dpop", b"content-type", b"content-length"):
            raise ProxyRefusal(400, "invalid", f"the header `{name.decode('latin-1')}` stands twice")
        found[name] = value
    return found


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def read_body(headers: dict[bytes, bytes], receive: Receive, types: Sequence[bytes], most: int) -> bytes:
    """The whole body, of one of the types, and of at most `most` bytes."""
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() not in types:
        raise ProxyRefusal(415, "not-supported", f"the body must be {types[0].decode()}")
    return await whole_body(receive, most)


async def whole_body(receive: Receive, most: int) -> bytes:
    """The body, of at most `most` bytes. Raises ProxyRefusal."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ProxyRefusal(400, "incomplete", "the body ended early")
        body += bytes(message.get("body", b""))
        if len(body) > most:
            raise ProxyRefusal(413, "too-long", f"the body may have at most {most} bytes")
        if not message.get("more_body"):
            return body


def read_pairs(text: bytes) -> tuple[tuple[str, str], ...]:
    """The pairs of a query or a form. Raises ProxyRefusal when it isn't well-formed."""
    if not text:
        return ()
    try:
        decoded = text.decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=100)
    except (ValueError, UnicodeDecodeError) as broken:
        raise ProxyRefusal(400, "invalid", "the parameters are not well-formed") from broken
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise ProxyRefusal(400, "invalid", "the parameters are not well-formed")
    return tuple(pairs)


def check_accept(accept: bytes) -> None:
    """FHIR R4 §3.1.0.1.10: only JSON, of R4, is served; what rules it out is refused with 406."""
    if accept and not _takes_what_is_served(accept):
        raise ProxyRefusal(406, "not-supported", "only application/fhir+json of R4 is served")


@lru_cache(maxsize=256)
def _takes_what_is_served(accept: bytes) -> bool:
    """Apps send the same header with every request."""
    return any(_is_served(part) for part in accept.decode("latin-1").split(","))


def _is_served(text: str) -> bool:
    try:
        kind, parameters = media_type(text)
    except ValueError:
        return False
    return kind.encode("latin-1") in _ACCEPTABLE and is_r4(parameters)


def accepted_types(accept: bytes) -> frozenset[bytes]:
    """The media types of an Accept header, without their parameters."""
    return frozenset(part.split(b";")[0].strip() for part in accept.lower().split(b","))
