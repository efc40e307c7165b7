"""Binary (FHIR R4 §2.37): content that is attached to documents, and readable through one that may be seen.

A Binary says neither whose it is nor of which kind. So it is opened by a DocumentReference that this request may read,
its attachment included, and by nothing else (docs/decisions/0016-whole-reads.md). What no such document points at
isn't there, and isn't asked for (docs/leaks.md L35).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.access_records import Seen
from fhir.proxy.narrowing import upstream_search
from fhir.proxy.parts import Answered, Asked, NothingOpened, Pages, ProxyParts, guarded_search
from fhir.proxy.request import FHIR_JSON, ProxyRefusal, ProxyRequest, accepted_types
from fhir.proxy.search_request import DEFAULT_COUNT
from fhir.proxy.searchset import fill_page
from fhir.proxy.shown import Shown
from policies.classify import classify
from policies.decide import ReadPlan, decide_resource
from policies.model import Permit, ResourceFacts

_DOCUMENT: Final = "DocumentReference"
_URL: Final = "content.attachment.url"
_ANY: Final = b"application/octet-stream"
_CONTENT_TYPE: Final = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(; ?charset=[\w-]{1,32})?", re.ASCII)
_PASSIVE: Final = (
    # It comes from this server's own address: nothing in it may run there, or be shown as if it were a page of ours.
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"content-disposition", b"attachment"),
)


class _Attachment(msgspec.Struct):
    url: object = None


class _Content(msgspec.Struct):
    attachment: _Attachment = msgspec.field(default_factory=_Attachment)


class _Document(msgspec.Struct):
    content: list[_Content] = []


class _Context(msgspec.Struct):
    reference: str


class _Binary(msgspec.Struct):
    contentType: str = ""  # noqa: N815  # FHIR's own spelling
    data: str = ""
    securityContext: _Context | None = None  # noqa: N815


_document = msgspec.json.Decoder(_Document).decode
_binary = msgspec.json.Decoder(_Binary).decode


async def answer_binary(parts: ProxyParts, asked: Asked) -> Answered:
    """The content in its own type, or as a Binary where FHIR is asked for (§2.37.3). Raises NothingOpened."""
    wants_fhir = _wants_fhir(asked.request)
    documents, plan = await _documents(parts, asked)
    body = await parts.read("Binary", asked.interaction.id, "") if documents else None
    if body is None:
        raise NothingOpened
    try:
        facts = parts.views.facts(body)
        binary = _binary(body)
        shown = _shown(parts, plan, facts, binary, documents)
        if shown is None or shown.name != asked.name:
            raise NothingOpened
        if wants_fhir:
            return Answered(parts.views.binary(body, plan.purpose), Seen(plan, (shown,)))
        content = base64.b64decode(re.sub(r"\s", "", binary.data), validate=True)
    except (NotMinimizable, msgspec.DecodeError, binascii.Error, ValueError):
        raise NothingOpened from None
    suitable = _CONTENT_TYPE.fullmatch(binary.contentType) is not None
    return Answered(content, Seen(plan, (shown,)), binary.contentType.encode() if suitable else _ANY, _PASSIVE)


async def _documents(parts: ProxyParts, asked: Asked) -> tuple[Sequence[Shown], ReadPlan]:
    """Documents that may be seen and point at it where it may be seen that they do; and the plan that opens them."""
    if any(name != "_format" for name, _ in asked.request.parameters):
        raise ProxyRefusal(400, "not-supported", "a read of a Binary takes `_format` only")
    if not parts.masks.visible(asked.plan.purpose, _DOCUMENT, _URL):
        return (), asked.plan
    urls = (asked.name, f"{parts.source_of(_DOCUMENT).place.base}/{asked.name}")
    criteria = (*asked.request.parameters, ("location", ",".join(urls)))
    search = guarded_search(parts, _DOCUMENT, criteria, asked.plan)
    plan = await parts.plans.for_search(asked.plan, search, asked.now)
    if not plan.shares:
        return (), plan
    first = upstream_search(search, plan, parts.catalogue, parts.definitions)
    get = Pages(parts, _DOCUMENT).decided_by(_pointing(parts.views.under(plan, {}), urls))
    page = await fill_page(_DOCUMENT, DEFAULT_COUNT, first, 0, get, question=first)
    return page.matches, plan


def _pointing(show: Callable[[bytes], Shown | None], urls: Sequence[str]) -> Callable[[bytes], Shown | None]:
    """Of the documents that may be seen, those in whose visible part one of the URLs stands."""

    def points(raw: bytes) -> Shown | None:
        shown = show(raw)
        if shown is None:
            return None
        try:
            contents = _document(shown.body).content
        except msgspec.DecodeError:
            return None
        return shown if any(content.attachment.url in urls for content in contents) else None

    return points


def _shown(
    parts: ProxyParts, plan: ReadPlan, facts: ResourceFacts, binary: _Binary, documents: Sequence[Shown]
) -> Shown | None:
    """The content as a part of the first document that opens it, with labels that it wears itself."""
    if facts.resource_type != "Binary" or facts.foreign:
        return None
    for document in documents:
        merged = replace(document.facts, labels=document.facts.labels | facts.labels)
        kind = classify(merged, parts.catalogue)
        permitted = isinstance(decide_resource(plan, merged, parts.catalogue, kind), Permit)
        if permitted and _is_in_context(parts, binary, document):
            own = ResourceFacts("Binary", facts.id, owners=document.facts.owners)
            return Shown(own, b"", categories=kind.everyday | kind.sensitive)
    return None


def _is_in_context(parts: ProxyParts, binary: _Binary, document: Shown) -> bool:
    """`securityContext` names whose rules hold: that must be this document or its patient."""
    if binary.securityContext is None:
        return True
    context = parts.views.relative(binary.securityContext.reference)
    return context in (document.name, *(f"Patient/{owner}" for owner in document.facts.owners))


def _wants_fhir(request: ProxyRequest) -> bool:
    """`_format`, or a FHIR type in the Accept header. Raises ProxyRefusal where that is XML alone."""
    accepted = accepted_types(request.accept)
    if request.parameters or not accepted.isdisjoint(FHIR_JSON):
        return True
    if b"application/fhir+xml" in accepted:
        raise ProxyRefusal(406, "not-supported", "as a resource it is served as application/fhir+json only")
    return False
