"""The history of one resource (FHIR R4 §3.1.0.9): its versions, each decided on its own content, by today's consents.

A version is open while both it and the current one may be seen; every other one isn't there (docs/leaks.md L40).
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from urllib.parse import urlencode

import msgspec

from fhir.proxy.access_records import Seen
from fhir.proxy.history_by_number import asked_by_number, version_of
from fhir.proxy.page_links import PageLinks, Parameters
from fhir.proxy.parts import Answered, Asked, NothingOpened, Pages, ProxyParts, guarded_search
from fhir.proxy.reading import seen
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.search_request import DEFAULT_COUNT
from fhir.proxy.searchset import fill_page, paged_bundle
from fhir.proxy.shown import Show, Shown
from fhir.r4.instants import instant_of

_TAKEN = ("_count", "_since", "_elements", "_summary", "_format")


async def answer_history(parts: ProxyParts, asked: Asked) -> Answered:
    """One page of the versions that may be seen, newest first. Raises NothingOpened."""
    kind, path = asked.interaction.resource_type, f"{asked.name}/_history"
    links = PageLinks(parts, asked, path)
    since, others = _since(links.query)
    shape = guarded_search(parts, kind, others, asked.plan)
    # Before the history is asked for: an upstream that fails at it would tell what is there from what isn't.
    current = await seen(parts, asked, "")
    if current is None:
        raise NothingOpened
    question = f"{path}?{urlencode({'_count': max(shape.count, DEFAULT_COUNT) + 1})}"
    first, position, passed = links.begin(question)
    pages = Pages(parts, kind)
    show = _of(asked.name, since, parts.views.under(current.plan, {kind: shape.elements}, origins=pages.origins))
    get = pages.decided_by(show, "history")
    page = await fill_page(
        *(kind, shape.count, first, position, get),
        versions=True,
        question=question,
        passed=passed,
        one_by_one=partial(_one_by_one, parts, asked, current),
    )
    if await seen(parts, asked, "") is None:
        raise NothingOpened  # withheld while its history was being read
    total = links.total(page, counted=asked.plan.patient is not None)
    entries = [_entry(parts.base, version) for version in page.matches]
    body = paged_bundle(b"history", links.of(page, kind), total, entries, page.matches)
    return Answered(body, Seen(current.plan, page.matches))


async def _one_by_one(parts: ProxyParts, asked: Asked, current: Seen, behind: int) -> str | None:
    """Where versions are had one by one; None where the upstream doesn't give even the current one by its number."""
    version = version_of(current.shown[0].body)
    url = asked_by_number(asked.name, version, behind)
    return url if url is not None and await seen(parts, asked, version) is not None else None


def _since(query: Parameters) -> tuple[datetime | None, Parameters]:
    """`_since`, and the other parameters of a history."""
    if any(name not in _TAKEN for name, _ in query):
        # `_at` asks which version was current: the answer can hang on one that is withheld.
        text = "a history takes `_count`, `_since`, `_elements`, `_summary` and `_format` only"
        raise ProxyRefusal(400, "not-supported", text)
    return read_since(query), tuple((name, value) for name, value in query if name != "_since")


def read_since(query: Parameters) -> datetime | None:
    """The instant of `_since`. Raises ProxyRefusal for one that isn't an instant, or stands twice."""
    given = [value for name, value in query if name == "_since"]
    if not given:
        return None
    since = instant_of(given[0], end=False) if len(given[0]) > 10 else None
    if since is None or len(given) > 1:
        raise ProxyRefusal(400, "invalid", "`_since` stands once and is an instant, such as `2026-01-31T12:00:00Z`")
    return since


def _of(name: str, since: datetime | None, show: Show) -> Show:
    """Versions of that resource only, made at `since` or later; one that doesn't say when it was made isn't."""

    def version(raw: bytes) -> Shown | None:
        shown = show(raw)
        if shown is None or shown.name != name:
            return None
        return shown if since is None or _is_since(shown.body, since) else None

    return version


class _Meta(msgspec.Struct):
    lastUpdated: object = None  # noqa: N815  # FHIR's own spelling


class _Version(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)


_decode = msgspec.json.Decoder(_Version).decode


def _is_since(body: bytes, since: datetime) -> bool:
    made = instant_of(_decode(body).meta.lastUpdated, end=False)
    return made is not None and made >= since


def _entry(base: str, shown: Shown) -> bytes:
    """`request` and `response` are alike for all: how a version came about can tell of the one before it."""
    full_url, name = msgspec.json.encode(f"{base}/{shown.name}"), msgspec.json.encode(shown.name)
    said = b',"request":{"method":"PUT","url":' + name + b'},"response":{"status":"200"}}'
    return b'{"fullUrl":' + full_url + b',"resource":' + shown.body + said
