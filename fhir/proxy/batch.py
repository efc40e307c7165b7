"""batch (FHIR R4 §3.1.0.11): entries that read or search, each answered as if it had been sent alone.

Every entry goes through all eight steps by itself: token, consents and masks are asked again, and it has an audit
record of its own. So an entry learns nothing that its own request wouldn't (docs/leaks.md L43). Of an entry only method
and URL are looked at; conditional headers count as little as they do in requests (L23).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import msgspec

from fhir.proxy.parts import Answered
from fhir.proxy.refusals import refusal_of
from fhir.proxy.request import MAX_QUERY, ProxyRefusal, ProxyRequest, read_pairs
from fhir.proxy.searchset import paged_bundle
from fhir.r4.interaction import Unsupported, interaction_of
from fhir.r4.operation_outcome import operation_outcome
from fhir.r4.strict_json import decode_once
from policies.decide import ReadPlan

MAX_ENTRIES: Final = 50
MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes of resources in one answer: what comes after is refused, entry by entry."""
_URL: Final = re.compile(r"[A-Za-z0-9\-.$_/]+(?:\?[!-~]*)?")
"""A path below the base and a query. No scheme, no host, no fragment, no percent-encoding in the path."""
_ANSWERED: Final = ("read", "vread", "history-instance", "search-type")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")

Answer = Callable[[ProxyRequest], Awaitable[Answered]]
"""All eight steps for one request."""


class _Request(msgspec.Struct):
    method: str
    url: str


class _Entry(msgspec.Struct):
    request: _Request
    resource: msgspec.Raw = msgspec.Raw()


class _Bundle(msgspec.Struct):
    resourceType: str  # noqa: N815  # FHIR's own spelling
    type: str
    entry: list[_Entry] = []


_decode = msgspec.json.Decoder(_Bundle).decode


async def answer_batch(request: ProxyRequest, answer: Answer) -> tuple[bytes, list[ReadPlan]]:
    """The batch-response, and the plans by which something is shown.

    Raises ProxyRefusal when the Bundle is none that can be answered.
    """
    alone = replace(request, parameters=(), body=b"", accept=b"application/fhir+json", log={})
    if any(name != "_format" or value not in ("json", "application/fhir+json") for name, value in request.parameters):
        raise ProxyRefusal(400, "not-supported", "a batch takes no parameters")
    said: list[bytes] = []
    plans: list[ReadPlan] = []
    for entry in _entries(request.body):
        room = MAX_ANSWER - sum(map(len, said))
        said.append(await _answered(alone, entry, answer, room, plans))
    return paged_bundle(b"batch-response", (), None, said), plans


def _entries(body: bytes) -> list[_Entry]:
    try:
        decode_once(body)
        bundle = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ProxyRefusal(400, "invalid", "the body is no Bundle whose entries are requests") from None
    if bundle.resourceType == "Bundle" and bundle.type == "transaction":
        raise ProxyRefusal(405, "not-supported", "transactions are not supported; send reads as a `batch`")
    if bundle.resourceType != "Bundle" or bundle.type != "batch":
        raise ProxyRefusal(400, "invalid", "the body must be a Bundle of type `batch`")
    if len(bundle.entry) > MAX_ENTRIES:
        raise ProxyRefusal(400, "too-costly", f"a batch may have at most {MAX_ENTRIES} entries")
    return bundle.entry


async def _answered(alone: ProxyRequest, entry: _Entry, answer: Answer, room: int, plans: list[ReadPlan]) -> bytes:
    try:
        answered = await answer(_sent_alone(alone, entry))
        body = answered.body
        if answered.seen is not None:
            plans.append(answered.seen.plan)
        if len(body) > room:
            raise ProxyRefusal(413, "too-long", "the batch's answer would be too large; send this entry by itself")
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        outcome = operation_outcome(refusal.code, refusal.text)
        return b'{"response":{"status":' + _status(refusal.status) + b',"outcome":' + outcome + b"}}"
    return b'{"resource":' + body + b',"response":{"status":' + _status(200) + b"}}"


def _sent_alone(alone: ProxyRequest, entry: _Entry) -> ProxyRequest:
    """The request that the entry stands for. Raises ProxyRefusal for one that isn't a read or a search by GET."""
    method, url = entry.request.method, entry.request.url
    if method not in _METHODS:
        raise ProxyRefusal(400, "value", "`request.method` is no method of HTTP that FHIR knows")
    if method != "GET":
        raise ProxyRefusal(405, "not-supported", f"`{method}` is not supported in a batch, which reads by `GET` only")
    if bytes(entry.resource):
        raise ProxyRefusal(400, "invalid", "an entry that reads has no `resource`")
    if _URL.fullmatch(url) is None or url.startswith("/"):
        text = "`request.url` must be relative to the FHIR base, such as `Observation?code=718-7`"
        raise ProxyRefusal(400, "value", text)
    path, _, query = url.partition("?")
    if len(query) > MAX_QUERY:
        raise ProxyRefusal(414, "too-long", f"the query may have at most {MAX_QUERY} bytes")
    found = interaction_of(method, f"/{path}")
    if not isinstance(found, Unsupported) and found.code not in _ANSWERED:
        raise ProxyRefusal(405, "not-supported", "a batch takes reads, histories and searches of one type")
    return replace(alone, method="GET", path=f"/{path}", parameters=read_pairs(query.encode()))


def _status(code: int) -> bytes:
    return msgspec.json.encode(f"{code} {HTTPStatus(code).phrase}")
