"""create, update, patch and delete (FHIR R4 §3.1.0): steps 4 to 7 for one resource.

What is there is read first and decided like a read: by the scope's letter, by consents that permit this action by
name, on its own content. What would be there is decided the same way. Between the two stands `fhir.writes.merge`.
INVARIANT: nothing is asked of the upstream but reads before the intent is on record (docs/decisions/0022-writes.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from fhir.minimization.minimize import NotMinimizable
from fhir.proxy.access_records import record_of_refusal
from fhir.proxy.parts import Answered, Asked, NothingOpened, ProxyParts
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.shown import Shown
from fhir.r4.json_patch import PatchRefused, apply_patch, read_patch
from fhir.r4.resource_body import content_of, encode_body
from fhir.upstream.upstreams import Upstreams
from fhir.upstream.writes import UpstreamWrites
from fhir.writes.content import MAX_RESOURCE, read_resource
from fhir.writes.links import check_new_links
from fhir.writes.merge import NotWritable
from fhir.writes.recording import WriteRecording
from fhir.writes.references import check_new_references
from fhir.writes.written import read_back, reading, version_of
from policies.codes import OBSERVATION_VALUE_SYSTEM

_ETAG: Final = re.compile(r'(?:W/)?"([A-Za-z0-9.\-]{1,64})"')
_STALE: Final = "the resource isn't at the version that the change starts from; read it again"


@dataclass(frozen=True, slots=True)
class _Current:
    """What is there: as it is, as this writer sees it, and its version."""

    raw: bytes
    shown: Shown
    version: str


async def answer_create(parts: ProxyParts, asked: Asked) -> Answered:
    """A new resource of the patient in context. Raises ProxyRefusal."""
    kind = asked.interaction.resource_type
    content = read_resource(asked.request.body, parts.definitions, kind)
    body, shown = await _decided(parts, asked, None, content)
    recording = WriteRecording(parts, asked, shown.categories)
    await recording.intend(None)
    written = await recording.watch(_writes(parts, asked).create(kind, body))
    if written.outcome != "done":
        await recording.failed("4")
        raise _not_taken()
    await recording.done(f"{kind}/{written.id}")
    return await read_back(parts, asked, written.id, status=201, version=written.version)


async def answer_update(parts: ProxyParts, asked: Asked) -> Answered:
    """The next version of a resource that the writer sees. Raises NothingOpened and ProxyRefusal."""
    content = _sent(parts, asked, asked.request.body)
    return await _replace(parts, asked, await _current(parts, asked), content)


async def answer_patch(parts: ProxyParts, asked: Asked) -> Answered:
    """A patch of what the writer sees, then as an update (docs/leaks.md L46). Raises NothingOpened and ProxyRefusal."""
    try:
        operations = read_patch(asked.request.body)
        current = await _current(parts, asked)
        patched = apply_patch(current.shown.body, operations, max_bytes=MAX_RESOURCE)
    except PatchRefused as refused:
        raise ProxyRefusal(refused.status, refused.code, refused.text) from refused
    return await _replace(parts, asked, current, _sent(parts, asked, patched))


async def answer_delete(parts: ProxyParts, asked: Asked) -> Answered:
    """End a resource of which nothing is withheld from the writer. Raises NothingOpened and ProxyRefusal."""
    current = await _current(parts, asked)
    if _is_shown_in_part(current.shown):
        text = "parts of the resource are withheld from this app, so it can't delete it"
        raise await _closed(parts, asked, text)
    recording = WriteRecording(parts, asked, current.shown.categories)
    await recording.intend(asked.name)
    written = await recording.watch(_writes(parts, asked).delete(asked.name, current.version))
    if written.outcome != "done":
        await recording.failed("4")
        raise _not_taken() if written.outcome == "refused" else ProxyRefusal(412, "conflict", _STALE)
    await recording.done(asked.name)
    return Answered(b"", None, status=204)


def _sent(parts: ProxyParts, asked: Asked, raw: bytes) -> dict[str, Any]:
    return read_resource(raw, parts.definitions, asked.interaction.resource_type, asked.interaction.id)


async def _current(parts: ProxyParts, asked: Asked) -> _Current:
    """What is there, if the writer sees it and may change it. Hidden and absent are one (docs/leaks.md L44, L45)."""
    read = await reading(parts, asked)
    if read is None:
        text = "what is there is changed or deleted by who sees it: the token needs a scope that reads (`r`) too"
        raise await _closed(parts, asked, text)
    kind = asked.interaction.resource_type
    raw = await parts.read(kind, asked.interaction.id, "")
    try:
        shown = None if raw is None else parts.views.under(read.plan, {})(raw)
    except NotMinimizable:
        shown = None
    if raw is None or shown is None or shown.name != asked.name:
        raise NothingOpened
    if parts.views.under(asked.plan, {})(raw) is None:
        raise await _closed(parts, asked, "the resource can be seen, but not changed so, by this token and consent")
    version = version_of(raw)
    if not version:
        raise ProxyRefusal(501, "not-supported", "the upstream FHIR server keeps no versions, so it is read-only")
    wanted = None if asked.request.write is None else asked.request.write.if_match
    if wanted is not None and not _names(wanted, version):
        raise ProxyRefusal(412, "conflict", _STALE)
    return _Current(raw, shown, version)


def _names(if_match: str, version: str) -> bool:
    """RFC 9110 §13.1.1. One that can't be read never holds."""
    found = [_ETAG.fullmatch(part.strip()) for part in if_match.split(",")]
    return if_match.strip() == "*" or any(tag is not None and tag[1] == version for tag in found)


async def _replace(parts: ProxyParts, asked: Asked, current: _Current, content: dict[str, Any]) -> Answered:
    body, shown = await _decided(parts, asked, current, content)
    recording = WriteRecording(parts, asked, current.shown.categories | shown.categories)
    await recording.intend(asked.name)
    written = await recording.watch(_writes(parts, asked).update(asked.name, current.version, body))
    if written.outcome != "done":
        await recording.failed("4")
        raise _not_taken() if written.outcome == "refused" else ProxyRefusal(412, "conflict", _STALE)
    await recording.done(asked.name)
    return await read_back(parts, asked, asked.interaction.id, status=200)


async def _decided(
    parts: ProxyParts, asked: Asked, current: _Current | None, content: dict[str, Any]
) -> tuple[bytes, Shown]:
    """What would be there, and how the writer would see it. Raises ProxyRefusal when it may not be there."""
    old = None if current is None else (current.raw, current.shown.body)
    try:
        merged = parts.views.merged(asked.plan.purpose, old, content)
        body = encode_body(merged)
        await _check_where_it_points(parts, asked, current, content)
        await parts.medications.learn(body)
        shown = parts.views.under(asked.plan, {})(body)
    except NotWritable as refused:
        text = f"`{refused.place}` can't be set, changed or removed by this app"
        raise ProxyRefusal(422, "business-rule", text) from None
    except NotMinimizable:
        raise ProxyRefusal(422, "structure", "the body isn't shaped as FHIR shapes this type") from None
    if shown is None:
        text = "the resource would lie outside of what this app may write: another patient's, or of another kind"
        raise await _closed(parts, asked, text)
    return body, shown


async def _check_where_it_points(
    parts: ProxyParts, asked: Asked, current: _Current | None, content: dict[str, Any]
) -> None:
    """What is new is new to the writer: that it stands in a hidden part mustn't show, nor help. Raises ProxyRefusal."""
    seen = b"{}" if current is None else current.shown.body
    check_new_links(content_of(seen), content, _upstreams(parts).bases)
    before = parts.views.facts(seen).references
    await check_new_references(parts, asked, parts.views.facts(encode_body(content)).references - before)


def _is_shown_in_part(shown: Shown) -> bool:
    tags = content_of(shown.body).get("meta", {}).get("tag", ())
    return {"system": OBSERVATION_VALUE_SYSTEM, "code": "SUBSETTED"} in tags


async def _closed(parts: ProxyParts, asked: Asked, text: str) -> ProxyRefusal:
    """A no by token or consents, on record."""
    await parts.audit.record(record_of_refusal(asked.request, asked.access, asked.interaction, parts.clock()))
    return ProxyRefusal(403, "forbidden", text)


def _not_taken() -> ProxyRefusal:
    return ProxyRefusal(422, "processing", "the upstream FHIR server doesn't take this content")


def _writes(parts: ProxyParts, asked: Asked) -> UpstreamWrites:
    """The writes of the upstream that the type belongs to."""
    return _upstreams(parts).writes(asked.interaction.resource_type)


def _upstreams(parts: ProxyParts) -> Upstreams:
    if parts.writes is None:
        raise ProxyRefusal(405, "not-supported", "this server is read-only for apps")
    return parts.writes
